#include "generate/decode.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "ops/log_softmax.h"

namespace pith {

void Decoder::Join(Continuation& text, Sequence& sequence, std::span<const float> logits) {
  PITH_CHECK(!sequence.pending && std::ssize(logits) == model_.config().vocab_size);
  members_.push_back({&text, &sequence, {logits.begin(), logits.end()}});
}

void Decoder::Leave(const Continuation& text) {
  std::erase_if(members_, [&](const Member& member) { return member.text == &text; });
}

void Decoder::Step() {
  std::erase_if(members_, [](const Member& member) { return !member.text->WantsToken(); });
  if (members_.empty()) return;
  const int64_t count = ReadPending();
  draws_.clear();
  for (const Member* member : drawn_) draws_.push_back(member->text->NextDraw());
  ids_.resize(count);
  DrawTokens(exec_, logits_.view(), draws_, ids_);
  ListLogprobs(count);
  for (int64_t i = 0; i < count; ++i) {
    drawn_[i]->sequence->pending = drawn_[i]->text->Take(ids_[i]);
  }
  std::erase_if(members_, [](const Member& member) { return !member.text->WantsToken(); });
}

// For the texts that ask, from the rows that their tokens were drawn from, each by itself.
void Decoder::ListLogprobs(int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    Continuation& text = *drawn_[i]->text;
    if (text.logprobs() < 0 || ids_[i] < 0) continue;
    const MatView<const float> row = logits_.Rows(i, 1);
    const auto score = [&](int32_t id) {
      LabelScore out;
      ScoreLabels(exec_, row, {&id, 1}, {&out, 1});
      return out;
    };
    const LabelScore drawn = score(ids_[i]);
    TokenLogprob logprob{ids_[i], drawn.logprob, drawn.top, drawn.top_logprob, {}};
    if (text.logprobs() == 1) logprob.ranked.push_back({drawn.top, drawn.top_logprob});
    if (text.logprobs() > 1) {
      for (const int32_t id : LargestLogits(exec_, row, text.logprobs())) {
        logprob.ranked.push_back({id, score(id).logprob});
      }
    }
    text.AddLogprob(std::move(logprob));
  }
}

// Every text's logits, in the order of drawn_. Returns how many texts there are.
int64_t Decoder::ReadPending() {
  const auto count = std::ssize(members_);
  logits_.Resize(exec_, count, model_.config().vocab_size);
  drawn_.clear();
  ids_.clear();
  sequences_.clear();
  for (Member& member : members_) {
    if (!member.sequence->pending) continue;
    drawn_.push_back(&member);
    ids_.push_back(*member.sequence->pending);
    sequences_.push_back(member.sequence);
  }
  if (!ids_.empty()) {
    pith::Step(model_, exec_, pool_, ids_, sequences_, workspace_, rows_,
               logits_.Rows(0, std::ssize(ids_)));
  }
  for (Sequence* sequence : sequences_) sequence->pending.reset();
  for (Member& member : members_) {
    if (member.logits.empty()) continue;
    const MatView<float> row = logits_.Rows(std::ssize(drawn_), 1);
    UploadRows(exec_, {member.logits.data(), 1, row.cols}, row);
    member.logits = {};
    drawn_.push_back(&member);
  }
  return count;
}

}  // namespace pith
