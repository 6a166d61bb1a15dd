// pith convert: a model's files as another kind of file.
#include <algorithm>
#include <string>
#include <vector>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "pith/convert.h"

namespace pith::cli {
namespace {

struct ConvertFlags {
  std::string model;
  std::string tokenizer;
  std::string output;
  std::string to;
  ConvertOptions options;
  bool json = false;
  bool quiet = false;
};

OrderedJson ToJson(const ConvertReport& report, const ConvertFlags& flags) {
  return {{"output", flags.output},        {"to", flags.options.to},
          {"bytes", report.bytes},         {"parameters", report.parameters},
          {"stored", report.stored_types}, {"tokenizer", report.tokenizer}};
}

int RunConvert(ConvertFlags flags, const Context& context) {
  const bool whole_numbers = flags.options.weights.starts_with("int");
  if (flags.to.empty()) flags.to = whole_numbers ? "safetensors" : "gguf";
  flags.options.to = flags.to;
  if (flags.to == "gguf") CheckWritable(flags.output);
  Output out("");
  ProgressBar bar("writing", flags.quiet);
  const ConvertReport report = Convert(flags.model, flags.tokenizer, flags.output, flags.options,
                                       bar.Control(context.cancel));
  bar.Clear();
  if (flags.json) {
    out.WriteJson(ToJson(report, flags));
  } else if (!flags.quiet) {
    out.Write(StrCat(Printable(flags.output), ": ", Grouped(report.bytes), " bytes, ",
                     Grouped(report.parameters), " parameters, ", StoredText(report.stored_types),
                     report.tokenizer ? ", with the tokenizer" : ", without a tokenizer", "\n"));
  }
  return kExitOk;
}

void Declare(CLI::App& verb, ConvertFlags& flags) {
  verb.add_option("--model", flags.model,
                  "Directory with config.json, weights and tokenizer.json, or a GGUF file")
      ->required()
      ->type_name("PATH");
  verb.add_option("--tokenizer", flags.tokenizer, "tokenizer.json to use instead of the model's")
      ->type_name("FILE");
  verb.add_option(
          "--to", flags.to,
          "gguf: one file, which llama.cpp reads too; safetensors: a directory, the default "
          "for int8 and int4")
      ->check(OneOf({"gguf", "safetensors"}))
      ->type_name("");
  std::vector<std::string> weights = {"stored"};
  for (const char* to : {"gguf", "safetensors"}) {
    for (const std::string& name : ConvertWeights(to)) weights.push_back(name);
  }
  verb.add_option("--weights", flags.options.weights,
                  "What matrices are stored as; stored: as they are")
      ->check(OneOf(weights))
      ->type_name("")
      ->capture_default_str();
  verb.add_option("--threads", flags.options.threads, "Threads; 0: all processors")
      ->check(CLI::Range(0, 1024))
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("-o,--output", flags.output,
                  "The file or directory, which appears whole at the end")
      ->required()
      ->type_name("PATH")
      ->group("Output");
  verb.add_flag("--json", flags.json, "Print JSON, not a line")->group("Output");
  verb.add_flag("-q,--quiet", flags.quiet, "No line, and no progress on standard error")
      ->group("Output");
}

}  // namespace

void AddConvert(CLI::App& app, Context& context) {
  AddVerb<ConvertFlags>(
      app, context, "convert", "Write a model's files as another kind",
      "  pith convert --model models/pith-27m-mamba2 --to gguf -o pith-27m.gguf\n"
      "  pith convert --model models/pith-27m-mamba2 --to gguf --weights q8_0 -o pith-27m-q8.gguf\n"
      "  pith convert --model pith-27m.gguf --to gguf --weights f32 -o pith-27m-f32.gguf --json\n"
      "  pith convert --model models/pith-27m-mamba2 --weights int8 -o pith-27m-int8\n",
      Declare, RunConvert);
}

}  // namespace pith::cli
