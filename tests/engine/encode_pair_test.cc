// EncodePair against the rule of lm-evaluation-harness's _encode_pair, written out here: the
// context's trailing blanks move to the front of the continuation; whole = encode(context +
// continuation); the continuation's ids are whole[len(encode(context)):].

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "pith/engine.h"
#include "tests/engine/tiny_checkpoint.h"

namespace pith {
namespace {

using Ids = std::vector<int32_t>;

class EncodePair : public ::testing::Test {
 protected:
  Engine engine_ = testing::LoadTiny();

  void Expect(const std::string& context, const std::string& continuation, const Ids& context_ids,
              const Ids& continuation_ids) {
    SCOPED_TRACE("\"" + context + "\" + \"" + continuation + "\"");
    const ScoreItem item = engine_.EncodePair(context, continuation);
    EXPECT_EQ(item.context, context_ids);
    EXPECT_EQ(item.continuation, continuation_ids);
  }
};

TEST_F(EncodePair, ByHand) {
  Expect("xy", " z", {'x', 'y'}, {' ', 'z'});
  Expect("xy ", "z", {'x', 'y'}, {' ', 'z'});
  Expect("xy \n\t", "z", {'x', 'y'}, {' ', '\n', '\t', 'z'});
  Expect("x\u00a0", "z", {'x'}, {0xc2, 0xa0, 'z'});  // str.rstrip() takes U+00A0, too
  Expect(" x", "z ", {' ', 'x'}, {'z', ' '});
  Expect("", "z", {}, {'z'});
  Expect("  ", "z", {}, {' ', ' ', 'z'});
  Expect("", "", {}, {});
  // Where tokens join over the border, the rule counts the context's own tokens off the whole.
  Expect("xa", "bz", {'x', 'a'}, {'z'});
  Expect("xab", "c", {'x', 256}, {});
  Expect("xa ", "bc", {'x', 'a'}, {' ', 'b', 'c'});
}

TEST_F(EncodePair, AgainstTheRule) {
  const std::vector<std::string> texts = {
      "",     "a",       "ab ",   "b c",           " abc\n", "c",  "ab",     " \t",
      "bc a", "x\u3000", "a\r\n", "<|endoftext|>", "bab",    "q?", "\u00e9 "};
  for (const std::string& left : texts) {
    for (const std::string& right : texts) {
      std::string context = left;
      std::string continuation = right;
      for (bool moved = true; moved;) {
        moved = false;
        for (const std::string blank : {" ", "\t", "\n", "\r", "\u3000"}) {
          if (!context.ends_with(blank)) continue;
          context.resize(context.size() - blank.size());
          continuation = blank + continuation;
          moved = true;
        }
      }
      const Ids context_ids = engine_.Tokenize(context);
      const Ids whole = engine_.Tokenize(context + continuation);
      Expect(left, right, context_ids,
             {whole.begin() + std::min(context_ids.size(), whole.size()), whole.end()});
    }
  }
}

TEST_F(EncodePair, BosStandsBeforeTheContextAlone) {
  const ScoreItem item = engine_.EncodePair("xy ", "z", true);
  EXPECT_EQ(item.context, (Ids{testing::kEndOfText, 'x', 'y'}));
  EXPECT_EQ(item.continuation, (Ids{' ', 'z'}));
  EXPECT_EQ(engine_.EncodePair("", "z", true).context, Ids{testing::kEndOfText});
  EXPECT_EQ(engine_.EncodePair("", "z", true).continuation, Ids{'z'});
}

}  // namespace
}  // namespace pith
