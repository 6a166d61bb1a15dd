// A reduction method of one's own, tried on a model without touching the library: own_policy
// MODEL_DIR
//
// The other examples use pith's public headers; this one includes headers of src/, as a method that
// is to become one of pith's own does (CONTRIBUTING.md, "A reduction method").
#include <algorithm>
#include <exception>
#include <iostream>
#include <memory>
#include <numeric>
#include <vector>

#include "model/model.h"
#include "model/prefill.h"
#include "reduce/removal.h"
#include "tokenize/tokenizer.h"

namespace {

// Removes the rows whose hidden branch is the weakest; of equal ones the earlier.
class DropWeakest : public pith::ReductionPolicy {
 public:
  pith::SiteNeeds Needs() const override {
    return {.importance_from = pith::Source::kHidden, .importance = pith::ImportanceKind::kL2};
  }
  pith::Plan MakePlan(const pith::SiteView& site, int64_t remove) const override {
    std::vector<int32_t> rows(site.rows - site.protected_tail);
    std::iota(rows.begin(), rows.end(), 0);
    std::ranges::stable_sort(rows, {}, [&](int32_t row) { return site.importance[row]; });
    rows.resize(remove);
    std::ranges::sort(rows);
    return pith::PrunePlan(rows);
  }
};

void Run(const std::filesystem::path& directory) {
  const pith::Exec exec = pith::ExecOn(pith::Device::kCpu, 2);
  const pith::Model model = pith::LoadModel(directory, exec).model;
  const pith::Tokenizer tokenizer = pith::Tokenizer::FromFile(directory / "tokenizer.json");
  std::string prompt;
  for (int i = 0; i < 20; ++i) prompt += "The old boat moved slowly down the river. ";
  const std::vector<int32_t> ids = tokenizer.Encode(prompt);

  const pith::RemovalMethod method{.make = [](const pith::ParamReader&) -> pith::PolicySetup {
    return {.policy = std::make_shared<DropWeakest>()};
  }};
  const pith::CompiledReduction reduction(
      pith::CompileRemoval(pith::ReductionSpec::Parse("drop-weakest@30%"), method, model.facts(),
                           {}, pith::FlopsCount::kBlocks));

  pith::StatePool pool(model, exec, 1);
  pith::Sequence sequence{.slot = pool.Take()};
  pith::Workspace workspace;
  const pith::SequenceInput input{ids, &sequence, pith::WantRows::kNone};
  const pith::PrefillResult result =
      pith::Prefill(model, exec, pool, {&input, 1}, {.reduction = &reduction}, workspace, nullptr);
  std::cout << ids.size() << " tokens, " << result.maps[0].rows() << " rows at the end, "
            << 100 * result.realised << " % of the layers' work saved\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: own_policy MODEL_DIR\n";
    return 2;
  }
  try {
    Run(argv[1]);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
