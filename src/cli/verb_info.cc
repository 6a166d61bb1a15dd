// pith info: what a model's files hold.
#include <string>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/text.h"
#include "cli/verbs.h"

namespace pith::cli {
namespace {

struct InfoFlags {
  ModelFlags model;
  OutputFlags output;
};

OrderedJson ToJson(const ModelInfo& info) {
  OrderedJson json = {{"kind", info.kind},
                      {"format", info.format},
                      {"parameters", info.parameters},
                      {"stored", info.stored_types},
                      {"n_layer", info.n_layer},
                      {"d_model", info.d_model},
                      {"vocab_size", info.vocab_size},
                      {"state_bytes", info.state_bytes},
                      {"state_bytes_per_token", info.state_bytes_per_token},
                      {"end_of_text", nullptr},
                      {"warnings", info.warnings},
                      {"description", info.description}};
  if (info.end_of_text) {
    json["end_of_text"] = {{"id", *info.end_of_text}, {"source", info.end_of_text_source}};
  }
  return json;
}

std::string ToText(const ModelInfo& info) {
  std::string text = info.description;
  if (!text.ends_with('\n')) text += "\n";
  Fields fields;
  fields.Add("kind", info.kind + ", written as " + info.format);
  fields.Add("parameters", Grouped(info.parameters));
  fields.Add("stored as", StoredText(info.stored_types));
  fields.Add("layers", Grouped(info.n_layer) + " of width " + Grouped(info.d_model));
  fields.Add("vocabulary", Grouped(info.vocab_size));
  fields.Add("state", info.state_bytes_per_token == 0
                          ? Grouped(info.state_bytes) + " bytes a sequence, of any length"
                          : Grouped(info.state_bytes) + " bytes a sequence, and " +
                                Grouped(info.state_bytes_per_token) + " for each of its tokens");
  fields.Add("end of text", info.end_of_text ? "id " + std::to_string(*info.end_of_text) +
                                                   ", from " + info.end_of_text_source
                                             : "none known");
  text += fields.ToString();
  for (const std::string& warning : info.warnings) text += "warning: " + warning + "\n";
  return text;
}

int RunInfo(const InfoFlags& flags, const Context&) {
  Output output(flags.output.output);
  const Engine engine = flags.model.Load();
  if (flags.output.json) {
    output.WriteJson(ToJson(engine.info()));
  } else {
    output.Write(ToText(engine.info()));
  }
  output.Commit();
  return kExitOk;
}

}  // namespace

void AddInfo(CLI::App& app, Context& context) {
  AddVerb<InfoFlags>(
      app, context, "info", "Describe a model: shape, parameters, state, end of text, warnings",
      "  pith info --model models/pith-27m-mamba2\n"
      "  pith info --model models/pith-13m-mamba1 --json | jq .state_bytes\n",
      [](CLI::App& verb, InfoFlags& flags) {
        flags.model.Declare(verb);
        flags.output.Declare(verb);
      },
      RunInfo);
}

}  // namespace pith::cli
