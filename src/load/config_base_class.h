// The keys of config.json that belong to transformers' base class of all configurations.
#ifndef PITH_LOAD_CONFIG_BASE_CLASS_H_
#define PITH_LOAD_CONFIG_BASE_CLASS_H_

#include <span>
#include <string_view>

#include "load/config_fields.h"

namespace pith {

// A file that was saved whole holds them all, at their defaults. These cannot change a forward of a
// Mamba model, whatever their values are.
std::span<const std::string_view> BaseClassWithoutEffect();

// Reads the keys of the base class that could change a forward. Throws kUnsupported, naming the
// key, unless each is absent, null, false, zero or empty; but for auto_map where `own_code` says
// so.
void RequireNeutralBaseClass(ConfigFields& top, bool own_code = false);

// Whether the file says that transformers MAJOR.MINOR or a later one wrote it. False where it does
// not say.
bool WrittenSince(ConfigFields& top, int major, int minor);

}  // namespace pith

#endif  // PITH_LOAD_CONFIG_BASE_CLASS_H_
