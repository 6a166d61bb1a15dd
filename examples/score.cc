// Ranks continuations of one context: score MODEL_DIR
#include <pith/engine.h>

#include <exception>
#include <iostream>
#include <string>
#include <vector>

namespace {

void Run(const std::string& model) {
  const pith::Engine engine = pith::Engine::Load(model);
  const std::string context = "The captain of the boat was a tall man. All his life he had been a";
  const std::vector<std::string> continuations = {" sailor", " man of the sea", " yellow"};

  // Items with the same context share its reading.
  std::vector<pith::ScoreItem> items;
  for (const std::string& continuation : continuations) {
    items.push_back(engine.EncodePair(context, continuation));
  }
  const std::vector<pith::ScoreResult> results = engine.Score(items);
  for (size_t i = 0; i < results.size(); ++i) {
    std::cout << results[i].logprob << " nats, " << results[i].tokens
              << " tokens:" << continuations[i] << "\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: score MODEL_DIR\n";
    return 2;
  }
  try {
    Run(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
