// Chats as texts: the expected ones are what transformers 5.24 makes of the same templates.
#include "serve/chat_template.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "tests/load/checkpoint_builder.h"

namespace pith::serve {
namespace {

using ::pith::testing::TempDir;

const std::vector<ChatMessage> kChat = {{"system", "Be short."},
                                        {"user", "Hi {{ bos_token }}"},
                                        {"assistant", " Hello. "},
                                        {"user", "Bye"}};

constexpr char kChatMl[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] "
    "+ '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ "
    "'<|im_start|>assistant\\n' }}{% endif %}";
constexpr char kChatMlText[] =
    "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi {{ bos_token }}<|im_end|>\n"
    "<|im_start|>assistant\n Hello. <|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
    "<|im_start|>assistant\n";

// Mistral's way: the system's text goes before the user's, and roles must alternate.
constexpr char kBrackets[] = R"({{ bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{%- for message in rest %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('roles must alternate') }}
    {%- endif %}
    {%- if message.role == 'user' %}
        {%- if loop.first and system is defined %}
            {{- '[INST] ' + system + '\n\n' + message['content'] + ' [/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + ' [/INST]' }}
        {%- endif %}
    {%- else %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- endif %}
{%- endfor %})";

std::string ErrorOf(const auto& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ChatTemplate, PlainForModelsWithoutOne) {
  const ChatTemplate plain;
  EXPECT_TRUE(plain.plain());
  EXPECT_EQ(plain.Render(kChat),
            "System: Be short.\n\nUser: Hi {{ bos_token }}\n\nAssistant:  Hello. \n\nUser: "
            "Bye\n\nAssistant:");
  EXPECT_EQ(plain.Stops().size(), 2u);
  const TempDir empty;
  EXPECT_TRUE(ChatTemplate::Of(empty.path()).plain());
}

TEST(ChatTemplate, RendersTheModelsOwn) {
  const TempDir dir;
  Json config = {{"chat_template", kChatMl}, {"bos_token", nullptr}};
  dir.Write("tokenizer_config.json", config.dump());
  EXPECT_EQ(ChatTemplate::Of(dir.path()).Render(kChat), kChatMlText);
  EXPECT_TRUE(ChatTemplate::Of(dir.path()).Stops().empty());
  config["chat_template"] = {{{"name", "tool_use"}, {"template", "x"}},
                             {{"name", "default"}, {"template", kChatMl}}};
  dir.Write("tokenizer_config.json", config.dump());
  EXPECT_EQ(ChatTemplate::Of(dir.path()).Render(kChat), kChatMlText);
  // A file of its own wins; special tokens are a text or an object.
  config["bos_token"] = {{"content", "<s>"}, {"lstrip", false}};
  config["eos_token"] = "</s>";
  dir.Write("tokenizer_config.json", config.dump());
  dir.Write("chat_template.jinja", kBrackets);
  EXPECT_EQ(ChatTemplate::Of(dir.path()).Render(kChat),
            "<s>[INST] Be short.\n\nHi {{ bos_token }} [/INST] Hello.</s>[INST] Bye [/INST]");
}

TEST(ChatTemplate, SaysWhatItRefuses) {
  const ChatTemplate brackets(kBrackets, "t", "", "");
  const std::vector<ChatMessage> twice = {{"user", "a"}, {"user", "b"}};
  EXPECT_NE(ErrorOf([&] { brackets.Render(twice); }).find("roles must alternate"),
            std::string::npos);
}

TEST(ChatTemplate, HostileTemplatesAreErrors) {
  const auto expect = [](const std::string& source, const char* word) {
    const std::string error = ErrorOf([&] { ChatTemplate(source, "hostile.json", "", ""); });
    EXPECT_NE(error.find("hostile.json"), std::string::npos) << source.substr(0, 40);
    EXPECT_NE(error.find(word), std::string::npos) << error;
  };
  expect("{% if %}", "chat template");
  expect("{{ x", "chat template");
  expect("{% for x in y %}", "chat template");
  expect("{{ " + std::string(1000, '(') + " }}", "nested");
  expect("{{ " + std::string(5000, '-') + " }}", "a tag of");
  std::string blocks;
  for (int i = 0; i < 5000; ++i) blocks += "{% if x %}";
  expect(blocks, "nested");
  expect(std::string(1 << 20, 'x'), "1048576 bytes");
  // As deep as is allowed, for the stack's sake.
  std::string chain = "{{ ";
  for (int i = 0; i < 900; ++i) chain += "not ";
  EXPECT_EQ(ErrorOf([&] { ChatTemplate(chain + "x }}", "t", "", ""); }), "");
  std::string choices = "{{ ";
  for (int i = 0; i < 300; ++i) choices += "1if x else ";
  EXPECT_EQ(ErrorOf([&] { ChatTemplate(choices + "1 }}", "t", "", "").Render(kChat); }), "");
}

TEST(ChatTemplate, BrokenFilesAreNamed) {
  const TempDir dir;
  dir.Write("tokenizer_config.json", R"({"chat_template": 3})");
  EXPECT_NE(ErrorOf([&] { ChatTemplate::Of(dir.path()); }).find("tokenizer_config.json"),
            std::string::npos);
  dir.Write("tokenizer_config.json", "{");
  EXPECT_NE(ErrorOf([&] { ChatTemplate::Of(dir.path()); }).find("tokenizer_config.json"),
            std::string::npos);
}

}  // namespace
}  // namespace pith::serve
