#include "generate/decode.h"

#include <algorithm>

#include "core/error.h"
#include "ops/log_softmax.h"

namespace pith {

void Decoder::Join(Continuation& text, Sequence& sequence, std::span<const float> logits) {
  PITH_CHECK(!sequence.pending && std::ssize(logits) == model_.config().vocab_size);
  members_.push_back({&text, &sequence, {logits.begin(), logits.end()}, std::nullopt});
}

void Decoder::Leave(const Continuation& text) {
  std::erase_if(members_, [&](const Member& member) { return member.text == &text; });
}

void Decoder::Step() {
  std::erase_if(members_, [](const Member& member) { return !member.text->WantsToken(); });
  ReadPending();
  for (Member& member : members_) {
    member.sequence->pending =
        member.top ? member.text->Take(*member.top) : member.text->Draw(member.logits);
  }
  std::erase_if(members_, [](const Member& member) { return !member.text->WantsToken(); });
}

void Decoder::ReadPending() {
  ids_.clear();
  sequences_.clear();
  for (const Member& member : members_) {
    if (!member.sequence->pending) continue;
    ids_.push_back(*member.sequence->pending);
    sequences_.push_back(member.sequence);
  }
  if (ids_.empty()) return;
  const auto count = static_cast<int64_t>(ids_.size());
  logits_.Resize(exec_, count, model_.config().vocab_size);
  pith::Step(model_, exec_, pool_, ids_, sequences_, workspace_, rows_, logits_.view());
  tops_.resize(count);
  const auto greedy = [](const Member& member) { return member.text->TakesMostLikely(); };
  if (std::ranges::any_of(members_, greedy)) MostLikely(exec_, logits_.view(), tops_);
  int64_t row = 0;
  for (Member& member : members_) {
    if (!member.sequence->pending) continue;
    member.sequence->pending.reset();
    const MatView<float> logits = logits_.Rows(row, 1);
    const int32_t top = tops_[row++];
    if (greedy(member)) {
      member.top = top;
      continue;
    }
    DownloadRows(exec_, logits, {member.logits.data(), 1, logits.cols});
  }
}

}  // namespace pith
