// pith, the command line: reads the options, runs one verb, turns errors into exit codes.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "cli/io.h"
#include "cli/ranks.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "core/nearest.h"
#include "pith/version.h"

namespace pith::cli {

ExitCode ExitCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return kExitUsage;
    case ErrorCode::kNotFound:
    case ErrorCode::kIo:
    case ErrorCode::kCorruptData:
    case ErrorCode::kUnsupported:
      return kExitFile;
    case ErrorCode::kCancelled:
      return kExitCancelled;
    case ErrorCode::kInternal:
      return kExitInternal;
  }
  return kExitInternal;
}

namespace {

constexpr char kFooter[] =
    "Exit codes: 0 done; 1 a bug in pith; 2 command line or option value; 3 a file (not found,\n"
    "unreadable, unwritable, corrupt, unsupported); 130 cancelled by Ctrl-C; 141 output closed.\n"
    "Results go to standard output, everything else to standard error.\n\n"
    "Examples:\n"
    "  pith info --model models/pith-27m-mamba2\n"
    "  pith generate --model models/pith-27m-mamba2 --prompt 'It was a dark night' --greedy\n"
    "  pith plan --list\n";

int Fail(int code, const std::string& message) {
  WriteError("pith: error: " + message + "\n");
  return code;
}

std::vector<std::string> VerbNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
  }
  return names;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// For the first word that `verb` did not expect, as far as it may be an option.
std::string OptionSuggestion(const CLI::App& verb) {
  const std::vector<std::string> words = verb.remaining();
  const std::string word = words.empty() ? "" : words.front().substr(0, words.front().find('='));
  return word.starts_with('-') ? DidYouMean(word, OptionNames(verb)) : "";
}

// --help and --version come here too: CLI11 throws them. `first`: the first word, if any.
int ParseFailure(const CLI::App& app, const CLI::ParseError& error, std::string_view first) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const auto verbs = app.get_subcommands();
  if (!verbs.empty()) {
    constexpr size_t kLongest = 600;
    const CLI::App& verb = *verbs.front();
    return Fail(kExitUsage, StrCat(Excerpt(error.what(), kLongest), OptionSuggestion(verb),
                                   "\nSee pith ", verb.get_name(), " --help."));
  }
  std::vector<std::string> known = VerbNames(app);
  std::string listed;
  for (const std::string& name : known) listed += (listed.empty() ? "" : ", ") + name;
  for (const std::string& name : OptionNames(app)) known.push_back(name);
  const std::string got =
      first.empty() ? "no verb" : StrCat("unknown verb or option '", Excerpt(first), "'");
  return Fail(kExitUsage, StrCat(got, ", expected one of ", listed, DidYouMean(first, known),
                                 "\nSee pith --help."));
}

std::string CommandLine(int argc, char** argv) {
  constexpr std::string_view kPlain = "@%+=:,./_-";
  std::string line = "pith";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain = !word.empty() && std::ranges::all_of(word, [&](unsigned char c) {
      return std::isalnum(c) != 0 || kPlain.find(c) != kPlain.npos;
    });
    line += ' ';
    if (plain) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

int Run(int argc, char** argv) {
  CLI::App app("Mamba language models that read long prompts at a fraction of the work.", "pith");
  app.set_version_flag("--version",
                       [] { return StrCat(BuildDescription(), "mpi: ", Ranks::Library(), "\n"); });
  app.footer(kFooter);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  Context context;
  KeepStandardStreams();
  context.cancel = CatchInterrupts();
  context.command = CommandLine(argc, argv);
  for (const auto add :
       {AddGenerate, AddScore, AddPerplexity, AddPlan, AddInspect, AddTokenize, AddInfo, AddDemo,
        AddEval, AddServe, AddCalibrate, AddReproduce, AddBench, AddConvert}) {
    add(app, context);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return ParseFailure(app, error, argc > 1 ? argv[1] : "");
  }
  return context.run();
}

int Main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const OutputClosed&) {
    return kExitClosed;
  } catch (const Error& error) {
    return Fail(ExitCodeOf(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return Fail(kExitInternal, "out of memory");
  } catch (const std::exception& error) {
    return Fail(kExitInternal, StrCat("internal: ", error.what()));
  }
}

}  // namespace
}  // namespace pith::cli

int main(int argc, char** argv) { return pith::cli::Main(argc, argv); }
