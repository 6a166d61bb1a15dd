// Large pages for memory that is read from end to end.
#ifndef PITH_CORE_LARGE_PAGES_H_
#define PITH_CORE_LARGE_PAGES_H_

#include <cstdint>

namespace pith {

// Asks the system to lay [data, data + bytes) in pages of 2 MiB where it holds whole ones: a step
// reads all weights, and walking the tables of small pages costs it a few percent. The parts at the
// ends keep small pages, so nothing becomes resident that is not asked for. A wish: a system that
// has no such pages, or none left, goes on with small ones.
void WantLargePages(void* data, int64_t bytes);

}  // namespace pith

#endif  // PITH_CORE_LARGE_PAGES_H_
