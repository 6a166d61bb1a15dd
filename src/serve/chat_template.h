// A chat as one text: by the model's own template, or plainly.
#ifndef PITH_SERVE_CHAT_TEMPLATE_H_
#define PITH_SERVE_CHAT_TEMPLATE_H_

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "serve/request.h"

namespace pith::serve {

class ChatTemplate {
 public:
  // For models without one: "User: …", "Assistant: …", "System: …" with an empty line after each,
  // then "Assistant:".
  ChatTemplate() = default;
  // A Jinja template, as far as third_party/minja goes. Throws kCorruptData where `source` (named
  // in messages) is none, and kUnsupported where it is longer or nested deeper than any in use.
  ChatTemplate(const std::string& source, const std::string& name, std::string bos,
               std::string eos);
  // That of a model: chat_template.jinja or tokenizer_config.json of its directory, or what its
  // GGUF file holds; the plain one where there is none.
  static ChatTemplate Of(const std::filesystem::path& model);

  // The text up to where the assistant begins. Throws kInvalidArgument where the template refuses
  // the messages.
  std::string Render(std::span<const ChatMessage> messages) const;
  // Texts that end an answer, beside the model's own end-of-text token.
  std::vector<std::string> Stops() const;
  bool plain() const { return root_ == nullptr; }
  const std::string& source() const { return source_; }

 private:
  std::string source_;
  std::string bos_;
  std::string eos_;
  std::shared_ptr<const void> root_;  // minja's
};

}  // namespace pith::serve

#endif  // PITH_SERVE_CHAT_TEMPLATE_H_
