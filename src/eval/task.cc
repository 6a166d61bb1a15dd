#include "eval/task.h"

#include <algorithm>

#include "core/error.h"
#include "core/nearest.h"
#include "eval/tasks/tasks.h"

namespace pith {
namespace {

struct Entry {
  TaskInfo info;
  std::unique_ptr<Task> (*make)();
};

const std::vector<Entry>& Entries() {
  static const std::vector<Entry> entries = {
      {{"lambada_openai", "the last word of a passage"}, MakeLambada},
      {{"hellaswag", "which of four endings"}, MakeHellaSwag},
      {{"piqa", "which of two ways to do a thing"}, MakePiqa},
      {{"arc_easy", "grade-school science, the easy part"}, MakeArcEasy},
      {{"arc_challenge", "grade-school science, the hard part"}, MakeArcChallenge},
      {{"winogrande", "whom a sentence speaks of"}, MakeWinoGrande},
      {{"perplexity", "the text after long contexts, in windows"}, MakePerplexity},
      {{"recall", "made-up facts hidden in a long text"}, MakeRecallTask},
      {{"recall_targets", "rare tokens of a text that were last seen far back"}, MakeRecallTargets},
  };
  return entries;
}

}  // namespace

std::vector<TaskInfo> ListTasks() {
  std::vector<TaskInfo> tasks;
  for (const Entry& entry : Entries()) tasks.push_back(entry.info);
  return tasks;
}

std::unique_ptr<Task> MakeTask(std::string_view name) {
  std::string known;
  std::vector<std::string> names;
  for (const Entry& entry : Entries()) {
    if (entry.info.name == name) return entry.make();
    names.push_back(entry.info.name);
    known += (known.empty() ? "" : ", ") + names.back();
  }
  Throw(ErrorCode::kInvalidArgument, "task: got '", name, "', expected one of ", known,
        DidYouMean(name, names));
}

}  // namespace pith
