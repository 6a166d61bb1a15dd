// The tasks there are; a new one is declared here and listed in eval/task.cc.
#ifndef PITH_EVAL_TASKS_TASKS_H_
#define PITH_EVAL_TASKS_TASKS_H_

#include <memory>

#include "eval/task.h"

namespace pith {

std::unique_ptr<Task> MakeLambada();
std::unique_ptr<Task> MakeHellaSwag();
std::unique_ptr<Task> MakePiqa();
std::unique_ptr<Task> MakeArcEasy();
std::unique_ptr<Task> MakeArcChallenge();
std::unique_ptr<Task> MakeWinoGrande();
std::unique_ptr<Task> MakePerplexity();
std::unique_ptr<Task> MakeRecallTask();
std::unique_ptr<Task> MakeRecallTargets();

}  // namespace pith

#endif  // PITH_EVAL_TASKS_TASKS_H_
