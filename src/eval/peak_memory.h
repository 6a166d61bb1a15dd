// Peak resident memory of this process, restartable.
#ifndef PITH_EVAL_PEAK_MEMORY_H_
#define PITH_EVAL_PEAK_MEMORY_H_

#include <cstdint>
#include <optional>

namespace pith {

// Starts a new peak. Returns false where the system cannot (/proc/self/clear_refs).
bool ResetPeakMemory();

// Bytes; nothing where the system does not tell (/proc/self/status).
std::optional<int64_t> PeakMemory();

}  // namespace pith

#endif  // PITH_EVAL_PEAK_MEMORY_H_
