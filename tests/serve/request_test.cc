// What clients send: every field is read, known to change nothing, or an error that names it; and
// whatever the bytes are, nothing but an error comes of them.
#include "serve/request.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "core/error.h"

namespace pith::serve {
namespace {

std::string ErrorOf(const std::string& body, bool chat = false) {
  try {
    chat ? ParseChat(body) : ParseCompletion(body);
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    return error.what();
  }
  return "";
}

void ExpectError(const std::string& body, const std::vector<std::string>& words,
                 bool chat = false) {
  const std::string error = ErrorOf(body, chat);
  EXPECT_FALSE(error.empty()) << body.substr(0, 100);
  for (const std::string& word : words) {
    EXPECT_NE(error.find(word), std::string::npos) << error;
  }
}

// A completion with one more field.
std::string With(const std::string& field) { return R"({"prompt": "x", )" + field + "}"; }

TEST(Completion, ReadsItsFields) {
  const GenerationRequest request = ParseCompletion(R"({
      "model": "m", "prompt": ["a", "bé"], "n": 2, "max_tokens": 7, "temperature": 0.5,
      "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": -3, "stop": ["x", "yy"], "echo": true,
      "logprobs": 1, "user": "u", "best_of": null, "presence_penalty": 0, "logit_bias": {}})");
  EXPECT_FALSE(request.chat);
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.prompts, (std::vector<Prompt>{"a", "bé"}));
  EXPECT_EQ(request.n, 2);
  EXPECT_EQ(request.max_tokens, 7);
  EXPECT_EQ(request.sampling.temperature, 0.5);
  EXPECT_EQ(request.sampling.top_p, 0.9);
  EXPECT_EQ(request.sampling.top_k, 40);
  EXPECT_EQ(request.sampling.min_p, 0.05);
  EXPECT_EQ(request.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(request.stop, (std::vector<std::string>{"x", "yy"}));
  EXPECT_TRUE(request.echo);
  EXPECT_EQ(request.logprobs, 1);
  EXPECT_FALSE(request.stream);
}

TEST(Completion, Defaults) {
  const GenerationRequest request = ParseCompletion(R"({"prompt": "x"})");
  EXPECT_EQ(request.n, 1);
  EXPECT_FALSE(request.max_tokens);
  EXPECT_EQ(request.sampling.temperature, 1);
  EXPECT_EQ(request.sampling.top_p, 1);
  EXPECT_EQ(request.sampling.top_k, 0);
  EXPECT_FALSE(request.seed);
  EXPECT_TRUE(request.stop.empty());
  EXPECT_EQ(request.logprobs, -1);
  EXPECT_FALSE(request.reduction.reduce || request.reduction.protect);
  EXPECT_EQ(ParseCompletion(With(R"("top_k": -1)")).sampling.top_k, 0);
}

TEST(Completion, FormsOfAPrompt) {
  using Ids = std::vector<int32_t>;
  const auto prompts = [](const std::string& prompt) {
    return ParseCompletion(R"({"prompt": )" + prompt + "}").prompts;
  };
  EXPECT_EQ(prompts(R"("a")"), (std::vector<Prompt>{"a"}));
  EXPECT_EQ(prompts(R"([1, 2])"), (std::vector<Prompt>{Ids{1, 2}}));
  EXPECT_EQ(prompts(R"([[1, 2], [3]])"), (std::vector<Prompt>{Ids{1, 2}, Ids{3}}));
  for (const char* bad : {"[]", "3", "{}", "true", "null", R"(["a", 1])", R"([[1], "a"])",
                          R"([1, "a"])", "[1.5]", "[-1]", "[2147483648]", "[1e3]",
                          "[99999999999999999999]", "[[1], [[2]]]", "[null]", "[[-1]]"}) {
    ExpectError(std::string(R"({"prompt": )") + bad + "}", {"prompt"});
  }
  ExpectError("{}", {"prompt: missing"});
}

TEST(Completion, RefusesWhatIsOutOfRange) {
  for (const char* field : {R"("n": 0)",
                            R"("n": 129)",
                            R"("n": 1.5)",
                            R"("max_tokens": -1)",
                            R"("max_tokens": 1e30)",
                            R"("max_tokens": 99999999999999999999)",
                            R"("temperature": "hot")",
                            R"("temperature": NaN)",
                            R"("top_k": -2)",
                            R"("stop": "")",
                            R"("stop": [1])",
                            R"("stop": ["a", ""])",
                            R"("stop": 3)",
                            R"("echo": 1)",
                            R"("logprobs": 21)",
                            R"("logprobs": true)",
                            R"("stream": "yes")",
                            R"("seed": 1.5)",
                            R"("model": 3)",
                            R"("stream_options": 3)",
                            R"("best_of": 2)",
                            R"("suffix": "x")",
                            R"("logit_bias": {"5": 1})",
                            R"("frequency_penalty": 0.5)",
                            R"("pith": 3)",
                            R"("pith": {"protect": -1})",
                            R"("pith": {"reduce": 3})"}) {
    const std::string name = std::string(field).substr(1, std::string(field).find('"', 1) - 1);
    ExpectError(With(field), {"request", name});
  }
  ExpectError(With(R"("echo": true, "logprobs": 2)"), {"logprobs", "got 2", "echo"});
  ExpectError(With(R"("echo": true, "logprobs": 1, "stream": true)"), {"stream"});
  ExpectError(With(R"("max_tokns": 3)"), {"max_tokns", "did you mean 'max_tokens'"});
  ExpectError(With(R"("pith": {"what": 3})"), {"pith.what", "reduce, protect"});
}

TEST(Completion, RefusesWhatIsTooMuch) {
  std::string stops = R"("stop": ["a")";
  for (int i = 1; i < 10000; ++i) stops += R"(, "a")";
  ExpectError(With(stops + "]"), {"stop", "got 10000 texts", "at most 64"});
  ExpectError(With(R"("stop": ")" + std::string(1001, 'a') + "\""), {"stop"});
  std::string prompts = R"({"prompt": ["a")";
  for (int i = 0; i < 5000; ++i) prompts += R"(, "a")";
  ExpectError(prompts + "]}", {"prompt", "5001"});
  ExpectError(With(R"("x": )" + std::string(100000, '[') + std::string(100000, ']')), {"nested"});
  ExpectError(With(R"("pith": {"reduce": "utrc:seed=)" + std::string(2000, '1') + "\"}"),
              {"reduction", "at most 1000"});
}

TEST(Completion, RefusesWhatIsNoJson) {
  for (const char* body : {"", "{", "x", "[]", "3", "\"a\"", "null", R"({"prompt": "x"} y)",
                           "{\"prompt\": \"\xff\xfe\"}", R"({"prompt": "x", "prompt": "y"})",
                           R"({"prompt": "\ud800"})", R"({"prompt": "x", "temperature": 1e999})"}) {
    ExpectError(body, {"request"});
  }
}

TEST(Reductions, ComeFromFieldOrName) {
  const auto read = [](const std::string& fields) { return ParseCompletion(With(fields)); };
  GenerationRequest request = read(R"("pith": {"reduce": "utrc@020%", "protect": 64})");
  EXPECT_EQ(request.reduction.reduce, "utrc@20%");
  EXPECT_EQ(request.reduction.protect, 64);
  request = read(R"("model": "m#utrc@20%:protect=64,seed=2")");
  EXPECT_EQ(request.model, "m");
  EXPECT_EQ(request.reduction.reduce, "utrc@20%:seed=2");
  EXPECT_EQ(request.reduction.protect, 64);
  // The field wins, each part of it for itself.
  request = read(R"("model": "m#utrc@20%:protect=64", "pith": {"reduce": "none"})");
  EXPECT_EQ(request.reduction.reduce, "none");
  EXPECT_FALSE(request.reduction.protect);
  request = read(R"("model": "m#utrc@20%", "pith": {"protect": 8})");
  EXPECT_EQ(request.reduction.reduce, "utrc@20%");
  EXPECT_EQ(request.reduction.protect, 8);
  EXPECT_FALSE(request.reduction.piece);
  request = read(R"("model": "m#utrc@20%:piece=512", "pith": {"protect": 8})");
  EXPECT_EQ(request.reduction.piece, 512);
  request = read(R"("pith": {"reduce": "utrc@20%:piece=512", "piece": 0})");
  EXPECT_EQ(request.reduction.reduce, "utrc@20%");
  EXPECT_EQ(request.reduction.piece, 0);
  ExpectError(With(R"("pith": {"piece": 63})"), {"pith.piece", "63", "at least 64"});
  ExpectError(With(R"("pith": {"piece": "64"})"), {"pith.piece", "64"});
  ExpectError(With(R"("model": "m#utrc@20%:piece=1")"), {"piece", "at least 64"});
  for (const char* bad : {"m#", "m#utrc@", "m#utrc@20%:protect=x", "m#utrc@20%:protect=-1",
                          "m#utrc@20%:protect=[1]", "m#utrc@20%:piece=-64", "m#@/etc/passwd"}) {
    ExpectError(With(std::string(R"("model": ")") + bad + "\""), {});
  }
}

TEST(States, HaveNamesThatAreNoPaths) {
  const GenerationRequest request =
      ParseCompletion(With(R"("pith": {"load_state": "a", "save_state": "B-2.x_y"})"));
  EXPECT_EQ(request.load_state, "a");
  EXPECT_EQ(request.save_state, "B-2.x_y");
  EXPECT_TRUE(IsStateName(std::string(64, 'a')));
  for (const std::string& name :
       {std::string(65, 'a'), std::string(".."), std::string("."), std::string(".a"),
        std::string("a/b"), std::string("/etc/passwd"), std::string("../a"), std::string("a\\b"),
        std::string("-a"), std::string("a b"), std::string("é"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(IsStateName(name)) << name;
    const Json own = {{"prompt", "x"}, {"pith", {{"load_state", name}}}};
    ExpectError(own.dump(), {"load_state", "letters"});
  }
  ExpectError(With(R"("pith": {"save_states": "a"})"), {"save_states", "did you mean"});
  ExpectError(With(R"("pith": {"save_state": 3})"), {"save_state"});
  ExpectError(With(R"("n": 2, "pith": {"save_state": "a"})"), {"save_state", "n = 2"});
  ExpectError(R"({"prompt": ["x", "y"], "pith": {"save_state": "a"}})", {"save_state", "2"});
  ExpectError(With(R"("echo": true, "logprobs": 1, "pith": {"load_state": "a"})"), {"load_state"});
  ExpectError(R"({"messages": [{"role": "user", "content": "x"}], "pith": {"save_state": "a"}})",
              {"save_state", "completions"}, /*chat=*/true);
}

TEST(Chat, ReadsItsFields) {
  const GenerationRequest request = ParseChat(R"({
      "messages": [{"role": "system", "content": "s"},
                   {"role": "user", "content": [{"type": "text", "text": "a"},
                                                {"type": "text", "text": "b"}]},
                   {"role": "assistant", "content": null, "refusal": null}],
      "max_completion_tokens": 5, "logprobs": true, "top_logprobs": 3, "stream": true,
      "stream_options": {"include_usage": true}, "tools": [], "response_format": {"type": "text"}})");
  EXPECT_TRUE(request.chat);
  ASSERT_EQ(request.messages.size(), 3u);
  EXPECT_EQ(request.messages[1].content, "ab");
  EXPECT_EQ(request.messages[2].content, "");
  EXPECT_EQ(request.max_tokens, 5);
  EXPECT_EQ(request.logprobs, 3);
  EXPECT_TRUE(request.stream && request.include_usage);
}

TEST(Chat, Refuses) {
  const auto refuses = [](const std::string& body, const std::vector<std::string>& words) {
    ExpectError(body, words, /*chat=*/true);
  };
  refuses("{}", {"messages: missing"});
  refuses(R"({"messages": []})", {"messages"});
  refuses(R"({"messages": [3]})", {"messages[0]"});
  refuses(R"({"messages": [{"role": "king", "content": "x"}]})", {"messages[0]", "role", "king"});
  refuses(R"({"messages": [{"content": "x"}]})", {"role: missing"});
  refuses(R"({"messages": [{"role": "user", "content": 3}]})", {"content"});
  refuses(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})", {"type"});
  refuses(R"({"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2})",
          {"top_logprobs"});
  refuses(R"({"messages": [{"role": "user", "content": "x"}], "tools": [{}]})", {"tools"});
  refuses(R"({"messages": [{"role": "user", "content": "x"}], "prompt": "x"})", {"prompt"});
}

TEST(Tokens, Requests) {
  const TokenizeRequest tokenize = ParseTokenize(R"({"prompt": "a", "add_special_tokens": false})");
  EXPECT_EQ(tokenize.prompt, "a");
  EXPECT_FALSE(tokenize.add_special_tokens);
  EXPECT_EQ(ParseDetokenize(R"({"tokens": [1, 2]})"), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(ParseDetokenize(R"({"tokens": []})"), std::vector<int32_t>());
  EXPECT_THROW(ParseTokenize("{}"), Error);
  for (const char* bad :
       {"{}", R"({"tokens": 3})", R"({"tokens": ["a"]})", R"({"tokens": [-1]})"}) {
    EXPECT_THROW(ParseDetokenize(bad), Error);
  }
}

}  // namespace
}  // namespace pith::serve
