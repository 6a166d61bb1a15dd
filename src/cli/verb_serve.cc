// pith serve: a model for many clients, over HTTP.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <thread>

#include "cli/flags.h"
#include "cli/io.h"
#include "cli/verbs.h"
#include "core/error.h"
#include "serve/server.h"
#include "serve/service.h"

namespace pith::cli {
namespace {

constexpr int64_t kStateMemory = 256 << 20;

struct ServeFlags {
  ModelFlags model;
  ReductionFlags reduction;
  SeedFlag seed;
  serve::ServerOptions server;
  serve::ServiceOptions service;
  bool quiet = false;
};

std::string NameOf(const ServeFlags& flags) {
  if (!flags.service.model_name.empty()) return flags.service.model_name;
  std::filesystem::path path = std::filesystem::absolute(flags.model.model).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // "models/x/"
  return path.filename().string();
}

std::string KeyOf(const ServeFlags& flags) {
  if (!flags.server.api_key.empty()) return flags.server.api_key;
  const char* key = std::getenv("PITH_API_KEY");
  return key == nullptr ? "" : key;
}

// Serves until the flag is raised, and then until what runs is written.
void ServeUntil(const std::atomic<bool>& stop, serve::Server& server) {
  std::exception_ptr failure;
  std::atomic<bool> ended = false;
  std::thread thread([&] {
    try {
      server.Run();
    } catch (...) {
      failure = std::current_exception();
    }
    ended = true;
  });
  constexpr std::chrono::milliseconds kLook(20);
  while (!stop && !ended) std::this_thread::sleep_for(kLook);
  server.Stop();
  thread.join();
  if (failure) std::rethrow_exception(failure);
  Require(stop, ErrorCode::kIo, "the server stopped listening");
}

int RunServe(const ServeFlags& flags, const Context& context) {
  const ReductionText reduction = flags.reduction.Resolve(flags.seed);
  serve::ServiceOptions options = flags.service;
  options.model_name = NameOf(flags);
  options.reduction = serve::ParseReduction(reduction.text);
  options.compile = reduction.options;
  serve::ServerOptions listening = flags.server;
  listening.api_key = KeyOf(flags);

  serve::ChatTemplate chat = serve::ChatTemplate::Of(flags.model.model);
  const Engine engine = flags.model.Load();
  serve::Service service(engine, std::move(chat), options);
  serve::Server server(service, listening);
  CatchTermination();
  Output output("");
  output.Write(StrCat("pith serve: ", options.model_name, " at http://", listening.host, ":",
                      server.port(), "\n"));
  ServeUntil(*context.cancel, server);
  if (!flags.quiet) WriteError("pith serve: stopped\n");
  return kExitOk;
}

void DeclareLimits(CLI::App& verb, ServeFlags& flags) {
  const auto add = [&](const char* name, auto& value, const char* description, int64_t least,
                       int64_t most) {
    verb.add_option(name, value, description)
        ->check(CLI::Range(least, most))
        ->type_name("N")
        ->capture_default_str()
        ->group("Limits");
  };
  SchedulerOptions& scheduler = flags.service.scheduler;
  scheduler.state_memory = kStateMemory;
  add("--max-running", scheduler.max_running, "Texts that are read or written at once", 1, 4096);
  add("--max-waiting", scheduler.max_waiting, "Texts that wait; more get status 429", 1, 1 << 20);
  add("--max-prompt", scheduler.max_prompt_tokens, "Most tokens of a prompt", 1,
      (int64_t{1} << 31) - 1);
  add("--rows-per-round", scheduler.rows_per_round,
      "Rows of prompts read between two tokens of the others; 0: a quarter of a chunk", 0,
      int64_t{1} << 31);
  add("--state-memory", scheduler.state_memory,
      "Bytes for states of prompts, for prompts that begin alike", 0, int64_t{1} << 50);
  add("--max-body", flags.server.max_body, "Most bytes of a request's body", 1, int64_t{1} << 32);
  add("--connections", flags.server.connections, "Connections that are served at once", 1, 4096);
  add("--state-disk", flags.service.state_disk, "Bytes for states in --state-dir", 0,
      int64_t{1} << 50);
  verb.add_option("--request-seconds", flags.server.request_seconds,
                  "Seconds in which a client must have sent a request whole")
      ->check(CLI::Range(0.01, 1e6))
      ->type_name("S")
      ->capture_default_str()
      ->group("Limits");
  verb.add_option("--max-seconds", flags.service.max_seconds,
                  "Most seconds for one text, its waiting included; 0: no limit")
      ->check(CLI::Range(0.0, 1e9))
      ->type_name("S")
      ->capture_default_str()
      ->group("Limits");
}

void Declare(CLI::App& verb, ServeFlags& flags) {
  verb.add_option("--host", flags.server.host, "Address to listen at")
      ->type_name("HOST")
      ->capture_default_str();
  verb.add_option("--port", flags.server.port, "Port; 0: a free one, which is printed")
      ->check(CLI::Range(0, 65535))
      ->type_name("N")
      ->capture_default_str();
  verb.add_option("--name", flags.service.model_name,
                  "What clients call the model (default: the name of its directory or file)")
      ->type_name("NAME");
  verb.add_option("--api-key", flags.server.api_key,
                  "Key that clients must show; better in the variable PITH_API_KEY")
      ->type_name("KEY");
  verb.add_option("--cors", flags.server.cors,
                  "Origin whose pages may call from a browser, or * (default: none)")
      ->type_name("ORIGIN");
  verb.add_option("--state-dir", flags.service.state_directory,
                  "Directory in which clients may save states by name (default: they may not)")
      ->type_name("DIR");
  verb.add_flag("-q,--quiet", flags.quiet, "Say nothing at the end");
  DeclareLimits(verb, flags);
  flags.seed.Declare(verb);
  flags.reduction.Declare(verb);
  flags.model.Declare(verb);
  DeclareBos(verb, flags.service.bos);
}

}  // namespace

void AddServe(CLI::App& app, Context& context) {
  AddVerb<ServeFlags>(
      app, context, "serve",
      "Answer completions and chats over HTTP, as OpenAI's interface has them",
      "  pith serve --model models/pith-27m-mamba2\n"
      "  pith serve --model models/pith-27m-mamba2 --reduce utrc@20% --port 0\n"
      "  curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json' \\\n"
      "      -d '{\"prompt\": \"It was a dark night\", \"max_tokens\": 32, \"temperature\": 0}'\n"
      "Ctrl-C or SIGTERM: running texts are finished first; again: at once. docs/serving.md\n",
      Declare, RunServe);
}

}  // namespace pith::cli
