// Continues a text greedily through pith's installed package: continue_text MODEL_DIR TEXT
#include <pith/engine.h>
#include <pith/version.h>

#include <exception>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: continue_text MODEL_DIR TEXT\n";
    return 2;
  }
  try {
    const pith::Engine engine = pith::Engine::Load(argv[1]);
    pith::GenerateOptions options;
    options.max_tokens = 12;
    options.sampling.greedy = true;
    const pith::GenerateResult result = engine.Generate(engine.Tokenize(argv[2]), options);
    std::cout << "pith " << PITH_VERSION << ": " << result.text << "\n";
    return result.ids.empty() ? 1 : 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
