// Continues a prompt that is read at a fraction of the work: generate MODEL_DIR
#include <pith/engine.h>

#include <exception>
#include <iostream>
#include <string>

namespace {

void Run(const std::string& model) {
  const pith::Engine engine = pith::Engine::Load(model);
  std::string prompt;
  for (int i = 0; i < 20; ++i) prompt += "The old boat moved slowly down the river. ";

  pith::GenerateOptions options;
  options.max_tokens = 16;
  options.sampling.greedy = true;
  options.reduction = engine.Compile("truncate@30%");
  options.on_text = [](std::string_view text) {
    std::cout << text << std::flush;
    return true;  // false ends generation
  };
  const pith::GenerateResult result = engine.Generate(engine.Tokenize(prompt), options);
  std::cout << "\n[" << result.prefill.tokens << " prompt tokens, " << result.prefill.rows_left
            << " rows at the end; " << result.ids.size() << " tokens made, ended by "
            << result.finish << "]\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: generate MODEL_DIR\n";
    return 2;
  }
  try {
    Run(argv[1]);
    return 0;
  } catch (const std::exception& error) {  // pith::Error says what was wrong, and error.code()
    std::cerr << error.what() << "\n";
    return 1;
  }
}
