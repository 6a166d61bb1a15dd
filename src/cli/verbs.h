// The verbs of the command line. Each lives in verb_NAME.cc and is added by one function, which
// declares its options and stores what to run; main runs it once the command line is read.
#ifndef PITH_CLI_VERBS_H_
#define PITH_CLI_VERBS_H_

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "pith/error.h"

namespace pith::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitInternal = 1,
  kExitUsage = 2,  // the command line: unknown option, bad value, reduction that cannot be
  kExitFile = 3,   // a file or device: not found, unreadable, unwritable, corrupt, unsupported
  kExitCancelled = 130,  // Ctrl-C, as shells report it
  kExitClosed = 141,     // the reader of standard output went away, as shells report it
};

ExitCode ExitCodeOf(ErrorCode code);

// What main hands to every verb.
struct Context {
  const std::atomic<bool>* cancel = nullptr;  // raised by the first Ctrl-C
  std::function<int()> run;                   // what the command line asks for; an ExitCode
  std::string command;                        // the command line, quoted for a shell
};

void AddGenerate(CLI::App& app, Context& context);
void AddScore(CLI::App& app, Context& context);
void AddPerplexity(CLI::App& app, Context& context);
void AddPlan(CLI::App& app, Context& context);
void AddInspect(CLI::App& app, Context& context);
void AddTokenize(CLI::App& app, Context& context);
void AddInfo(CLI::App& app, Context& context);
void AddDemo(CLI::App& app, Context& context);
void AddEval(CLI::App& app, Context& context);
void AddServe(CLI::App& app, Context& context);
void AddCalibrate(CLI::App& app, Context& context);
void AddReproduce(CLI::App& app, Context& context);
void AddBench(CLI::App& app, Context& context);
void AddConvert(CLI::App& app, Context& context);

// --verbose: notes of the library (core/notes.h) on standard error.
void DeclareVerbose(CLI::App& verb);

// Declares a verb whose flags live in a `Flags`, as long as the verb does. `declare(verb, flags)`
// adds the options; `run(flags, context)` does the work and returns an ExitCode. `examples` is
// what --help shows last.
template <class Flags, class Declare, class Run>
void AddVerb(CLI::App& app, Context& context, const std::string& name,
             const std::string& description, const std::string& examples, Declare declare,
             Run run) {
  CLI::App* verb = app.add_subcommand(name, description);
  verb->footer("Examples:\n" + examples);
  const auto flags = std::make_shared<Flags>();
  declare(*verb, *flags);
  DeclareVerbose(*verb);
  verb->callback([&context, flags, run] {
    context.run = [&context, flags, run] { return run(*flags, context); };
  });
}

}  // namespace pith::cli

#endif  // PITH_CLI_VERBS_H_
