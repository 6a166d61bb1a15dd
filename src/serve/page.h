// The page at "/": src/serve/page.html, which the build puts into the program.
#ifndef PITH_SERVE_PAGE_H_
#define PITH_SERVE_PAGE_H_

namespace pith::serve {

extern const char* const kPage;

}  // namespace pith::serve

#endif  // PITH_SERVE_PAGE_H_
