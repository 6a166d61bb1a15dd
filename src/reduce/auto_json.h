// models/auto.json as the build found it (cmake/auto_json.cc.in).
#ifndef PITH_REDUCE_AUTO_JSON_H_
#define PITH_REDUCE_AUTO_JSON_H_

namespace pith {

extern const char* const kAutoJson;

}  // namespace pith

#endif  // PITH_REDUCE_AUTO_JSON_H_
