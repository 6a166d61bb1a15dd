// What clients send, from hostile bytes to checked values. Sees neither the model nor the network.
#ifndef PITH_SERVE_REQUEST_H_
#define PITH_SERVE_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/json.h"
#include "pith/options.h"

namespace pith::serve {

inline constexpr int64_t kMostPrompts = 4096;
inline constexpr int64_t kMostChoices = 128;
inline constexpr int64_t kMostStops = 64;
inline constexpr size_t kLongestStop = 1000;  // bytes
inline constexpr int64_t kMostNewTokens = int64_t{1} << 20;
inline constexpr int64_t kMostLogprobs = 20;
inline constexpr size_t kLongestReduction = 1000;  // bytes
inline constexpr size_t kLongestStateName = 64;    // bytes

// What a request says of reduction; what it leaves open is said elsewhere.
struct ReductionChoice {
  std::optional<std::string> reduce;  // docs/reductions.md
  std::optional<int64_t> protect;     // last tokens of the prompt that are read whole
  std::optional<int64_t> piece;       // tokens of the context that are reduced together; 0: all
};

// `utrc@20%:piece=1024,protect=64`: these two keys are taken out, and the rest is spelled
// canonically. Throws kInvalidArgument.
ReductionChoice ParseReduction(std::string_view text);
// The field or key `piece`.
int64_t PieceOf(const JsonReader& reader);
// `NAME#REDUCTION`: cuts the reduction off the name.
ReductionChoice TakeReduction(std::string& model);

// Letters, digits, '.', '_' and '-', of which the first is a letter or a digit: what can be no
// path.
bool IsStateName(std::string_view name);

using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct ChatMessage {
  std::string role;
  std::string content;
};

struct GenerationRequest {
  bool chat = false;
  std::string model;  // without a reduction; empty: none was named
  ReductionChoice reduction;
  std::vector<Prompt> prompts;        // of a completion
  std::vector<ChatMessage> messages;  // of a chat
  int64_t n = 1;                      // texts for each prompt
  std::optional<int64_t> max_tokens;
  SamplingOptions sampling;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool echo = false;
  int64_t logprobs = -1;   // as GenerateOptions has them
  std::string load_state;  // names, of completions alone; empty: none
  std::string save_state;
  bool stream = false;
  bool include_usage = false;  // in the stream's last piece
};

// The bodies of the two requests. They and what follows throw pith::Error, which names the field,
// its value and what was expected. A field that is neither read nor known to change nothing is an
// error too.
GenerationRequest ParseCompletion(std::string_view body);
GenerationRequest ParseChat(std::string_view body);

struct TokenizeRequest {
  std::string prompt;
  bool add_special_tokens = true;
};
TokenizeRequest ParseTokenize(std::string_view body);
std::vector<int32_t> ParseDetokenize(std::string_view body);

}  // namespace pith::serve

#endif  // PITH_SERVE_REQUEST_H_
