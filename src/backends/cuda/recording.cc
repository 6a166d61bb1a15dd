// Work that comes again is launched as one graph: a step of a model is some hundred launches, each
// of which costs the host a few microseconds and the GPU a gap.
#include <algorithm>
#include <utility>

#include "backends/cuda/gpu.h"

namespace pith::cuda {
namespace {

constexpr size_t kRecordings = 64;

}  // namespace

bool Gpu::IsRecording() const {
  return recorded_ != nullptr && recorder_ == std::this_thread::get_id();
}

Gpu::Recording& Gpu::FindRecording(std::span<const int64_t> key) {
  const auto found = std::ranges::find_if(
      recordings_, [&](const Recording& r) { return std::ranges::equal(r.key, key); });
  if (found != recordings_.end()) {
    recordings_.splice(recordings_.begin(), recordings_, found);
  } else {
    if (recordings_.size() >= kRecordings) {
      Forget(recordings_.back());
      recordings_.pop_back();
    }
    recordings_.push_front({.key = {key.begin(), key.end()}});
  }
  return recordings_.front();
}

void Gpu::Forget(Recording& recording) {
  if (recording.graph != nullptr) cudaGraphExecDestroy(std::exchange(recording.graph, nullptr));
  const std::lock_guard lock(placed_mutex_);
  for (const auto& placed : recording.placed) --placed->recordings;
  recording.placed.clear();
}

// Leaves recording.graph null where something in `work` cannot be recorded: memory that is asked
// for, or a wait.
void Gpu::Record(Recording& recording, const std::function<void()>& work) {
  if (recording_stream_ == nullptr) {
    PITH_CUDA(cudaStreamCreateWithFlags(&recording_stream_, cudaStreamNonBlocking));
  }
  PITH_CUDA(cudaStreamBeginCapture(recording_stream_, cudaStreamCaptureModeThreadLocal));
  recorder_ = std::this_thread::get_id();
  recorded_ = &recording;
  bool whole = true;
  try {
    work();
  } catch (...) {
    whole = false;  // run without being recorded, `work` throws again if the fault is its own
  }
  recorded_ = nullptr;
  cudaGraph_t graph = nullptr;
  whole =
      cudaStreamEndCapture(recording_stream_, &graph) == cudaSuccess && whole && graph != nullptr;
  whole = whole && cudaGraphInstantiate(&recording.graph, graph, 0) == cudaSuccess;
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
  for (void* data : std::exchange(freed_while_recording_, {})) Release(data);
  if (whole) return;
  Forget(recording);
  recording.refused = true;
}

void Gpu::Repeat(const Queue& queue, std::span<const int64_t> key,
                 const std::function<void()>& work) {
  Select();
  const std::lock_guard lock(recordings_mutex_);
  Recording& recording = FindRecording(key);
  // The first time brings what is placed and chosen once, which cannot be recorded.
  const bool first = !std::exchange(recording.seen, true);
  if (!first && recording.graph == nullptr && !recording.refused) {
    Record(recording, work);
  }
  if (recording.graph != nullptr) {
    PITH_CUDA(cudaGraphLaunch(recording.graph, stream(queue)));
  } else {
    work();
  }
}

}  // namespace pith::cuda
