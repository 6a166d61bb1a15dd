// What the scheduler says of its texts at any moment: each stands in one place. A text that was
// cancelled while its prompt was read once made the number of those being written −1 for a moment.
#include "engine/text_queue.h"

#include <gtest/gtest.h>

#include <tuple>
#include <vector>

namespace pith {
namespace {

// Waiting, reading, writing.
std::tuple<int64_t, int64_t, int64_t> Now(const TextQueue& queue) {
  const SchedulerCounts counts = queue.counts();
  return {counts.waiting, counts.reading, counts.writing};
}

TEST(TextQueueTest, CountsATextInOnePlaceAtATime) {
  TextQueue queue(/*max_running=*/2, /*max_waiting=*/1);
  ASSERT_EQ(queue.Submit(std::vector<TextRequest>(3)).size(), 3u);
  EXPECT_EQ(Now(queue), std::tuple(3, 0, 0));
  const TextPtr first = queue.Next();
  const TextPtr second = queue.Next();
  EXPECT_EQ(Now(queue), std::tuple(1, 2, 0));
  queue.StartsWriting(first);
  EXPECT_EQ(Now(queue), std::tuple(1, 1, 1));
  queue.Remove(second);  // while its prompt is read
  EXPECT_EQ(Now(queue), std::tuple(1, 0, 1));
  queue.Remove(first);
  EXPECT_EQ(Now(queue), std::tuple(1, 0, 0));
  queue.Remove(queue.Next());
  EXPECT_EQ(Now(queue), std::tuple(0, 0, 0));
}

}  // namespace
}  // namespace pith
