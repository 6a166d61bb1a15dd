// The ratios of the paper's Figures 3 to 6: peak memory and throughput of generation under UTRC.
#ifndef PITH_EVAL_REPRODUCE_PAPER_FIGURES_H_
#define PITH_EVAL_REPRODUCE_PAPER_FIGURES_H_

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace pith {

class PaperFigures {
 public:
  // Throws as ReadFile does, and kCorruptData naming file, field and what was expected.
  static PaperFigures Read(const std::filesystem::path& path);
  static PaperFigures Parse(std::string_view text, const std::string& source);

  // Reduced beside dense, at a share of FLOPs. Empty where the paper has no number.
  std::optional<double> Memory(std::string_view model, double reduction) const;
  std::optional<double> Throughput(std::string_view model, double reduction) const;

 private:
  using Ratios = std::map<double, double>;  // by the share of FLOPs
  using Models = std::map<std::string, Ratios, std::less<>>;

  Models memory_;
  Models throughput_;
};

}  // namespace pith

#endif  // PITH_EVAL_REPRODUCE_PAPER_FIGURES_H_
