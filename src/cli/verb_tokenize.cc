// pith tokenize: text to token ids, and back.
#include <charconv>
#include <filesystem>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "pith/tokenizer.h"

namespace pith::cli {
namespace {

struct TokenizeFlags {
  std::string tokenizer;
  std::string model;
  TextFlags text;
  OutputFlags output;
  bool bos = false;
  bool decode = false;
};

Tokenizer LoadTokenizer(const TokenizeFlags& flags) {
  Require(!flags.tokenizer.empty() || !flags.model.empty(), ErrorCode::kInvalidArgument,
          "tokenize: --tokenizer FILE or --model DIR is required");
  if (!flags.tokenizer.empty()) return Tokenizer::FromFile(flags.tokenizer);
  const std::filesystem::path found = TokenizerOf(flags.model);
  // Where there is none, the message is about the file that a directory should have.
  return Tokenizer::FromFile(found.empty() ? std::filesystem::path(flags.model) / "tokenizer.json"
                                           : found);
}

// Decimal ids between blanks, commas, brackets: what tokenize prints, and JSON arrays.
std::vector<int32_t> ParseIds(std::string_view text, const std::string& source,
                              int64_t vocab_size) {
  constexpr std::string_view kBetween = " \t\r\n,[]";
  std::vector<int32_t> ids;
  for (size_t at = text.find_first_not_of(kBetween); at != text.npos;
       at = text.find_first_not_of(kBetween, at)) {
    const size_t end = std::min(text.find_first_of(kBetween, at), text.size());
    const std::string_view word = text.substr(at, end - at);
    int32_t id = -1;
    const auto [stop, error] = std::from_chars(word.begin(), word.end(), id);
    Require(error == std::errc() && stop == word.end() && id >= 0 && id < vocab_size,
            ErrorCode::kInvalidArgument, source, ": id ", ids.size() + 1, ": got ", Quoted(word),
            ", expected a number of 0 … ", vocab_size - 1);
    ids.push_back(id);
    at = end;
  }
  return ids;
}

void PrintIds(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool json,
              Output& output) {
  if (json) {
    output.WriteJson({{"ids", ids}, {"tokens", ids.size()}});
    return;
  }
  std::string text;
  for (const int32_t id : ids) {
    text += StrCat(id, "\t", Quoted(tokenizer.TokenBytes(id)), "\n");
  }
  output.Write(text);
}

int RunTokenize(const TokenizeFlags& flags, const Context& context) {
  const std::string text = flags.text.Read(context);
  Output output(flags.output.output);
  const Tokenizer tokenizer = LoadTokenizer(flags);
  if (flags.decode) {
    const std::string decoded =
        tokenizer.Decode(ParseIds(text, flags.text.Source(), tokenizer.vocab_size()));
    flags.output.json ? output.WriteJson({{"text", decoded}}) : output.Write(decoded);
  } else {
    std::vector<int32_t> ids = tokenizer.Encode(text);
    if (flags.bos) {
      const auto end_of_text = tokenizer.end_of_text();
      Require(end_of_text.has_value(), ErrorCode::kInvalidArgument,
              "--bos: the tokenizer has no end-of-text token");
      ids.insert(ids.begin(), *end_of_text);
    }
    PrintIds(tokenizer, ids, flags.output.json, output);
    if (!flags.output.json && !flags.output.quiet) {
      WriteError(StrCat(ids.size(), " tokens for ", text.size(), " bytes\n"));
    }
  }
  output.Commit();
  return kExitOk;
}

}  // namespace

void AddTokenize(CLI::App& app, Context& context) {
  AddVerb<TokenizeFlags>(
      app, context, "tokenize", "Text to token ids, or back with --decode",
      "  pith tokenize --tokenizer models/pith-27m-mamba2/tokenizer.json --text 'Hello, world'\n"
      "  pith tokenize --model models/pith-27m-mamba2 --file book.txt --json\n"
      "  pith tokenize --model models/pith-27m-mamba2 --decode --text '510 4231'\n",
      [](CLI::App& verb, TokenizeFlags& flags) {
        flags.text.Declare(verb, "text", "file", "Text (ids with --decode)");
        verb.add_option("--tokenizer", flags.tokenizer, "A tokenizer.json")->type_name("FILE");
        verb.add_option("--model", flags.model, "Use the tokenizer of this directory or GGUF file")
            ->type_name("PATH");
        verb.add_flag("--bos", flags.bos, "Put the end-of-text token first (off by default)");
        verb.add_flag("--decode", flags.decode, "Turn ids into text");
        flags.output.Declare(verb);
      },
      RunTokenize);
}

}  // namespace pith::cli
