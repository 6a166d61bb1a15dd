// Reads a context once and goes on from it in two ways: fork_state MODEL_DIR
//
// A Mamba model's memory of what it read has a constant size, so a copy of it is cheap, and so is a
// file of it.
#include <pith/engine.h>

#include <exception>
#include <filesystem>
#include <iostream>
#include <string>

namespace {

std::string Continue(const pith::Engine& engine, pith::Session session, const std::string& text) {
  pith::GenerateOptions options;
  options.max_tokens = 12;
  options.sampling.greedy = true;
  return text + session.Generate(engine.Tokenize(text), options).text;
}

// False where the state of a file continues otherwise than the one in memory.
bool Run(const std::string& model) {
  const pith::Engine engine = pith::Engine::Load(model);
  pith::Session read = engine.NewSession();
  read.Append(engine.Tokenize("It was a dark night on the river, and the old boat moved slowly."));

  const std::string by_day = " In the morning";  // a copy of the session is a fork of the text
  std::cout << Continue(engine, read, by_day) << "\n";
  std::cout << Continue(engine, read, " The captain") << "\n";

  const auto file = std::filesystem::temp_directory_path() / "pith-example-fork.state";
  read.Save(file);
  const bool same =
      Continue(engine, engine.LoadSession(file), by_day) == Continue(engine, read, by_day);
  std::filesystem::remove(file);
  std::cout << "From the file: " << (same ? "the same text" : "another text") << "\n";
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: fork_state MODEL_DIR\n";
    return 2;
  }
  try {
    return Run(argv[1]) ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
