// One function per file of this folder; registry.cc lists them.
#ifndef PITH_REDUCE_POLICIES_POLICIES_H_
#define PITH_REDUCE_POLICIES_POLICIES_H_

#include "reduce/registry.h"

namespace pith {

Method UtrcMethod();
Method UtrcPublishedMethod();
Method EvitMethod();
Method PumerMethod();
Method TomeMethod();
Method LtmpMethod();
Method SpanDropMethod();
Method TruncateMethod();
Method PrefixDropMethod();
Method PrefixThinMethod();
Method RandomMethod();
Method StrideMethod();

}  // namespace pith

#endif  // PITH_REDUCE_POLICIES_POLICIES_H_
