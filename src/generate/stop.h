// Ends output at stop texts, which may span tokens.
#ifndef PITH_GENERATE_STOP_H_
#define PITH_GENERATE_STOP_H_

#include <string>
#include <string_view>
#include <vector>

namespace pith {

// Passes text through, holding back what may be the beginning of a stop text.
class StopFilter {
 public:
  // Throws kInvalidArgument for an empty stop text.
  explicit StopFilter(std::vector<std::string> stops);

  // Returns the text that became final. Once a stop text is whole (the longest, where several end
  // together), that is everything before it. The same in all however the text is cut into pieces.
  std::string Push(std::string_view text);
  // What is still held back, at the end of the output.
  std::string Flush();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace pith

#endif  // PITH_GENERATE_STOP_H_
