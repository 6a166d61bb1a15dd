#include "load/checkpoint_files.h"

#include <map>
#include <set>
#include <string>

#include "core/error.h"
#include "core/json.h"
#include "load/safetensors.h"
#include "load/torch_bin.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxIndexBytes = int64_t{64} << 20;

TensorTable OpenFile(const fs::path& path, CheckpointFiles& checkpoint) {
  const auto file = std::make_shared<const MappedFile>(path);
  checkpoint.files.push_back(file);
  const bool torch = path.extension() == ".bin";
  return torch ? ReadTorchBin(file->bytes(), path.string())
               : ReadSafetensors(file->bytes(), path.string());
}

// Tensor name -> file name, of {"metadata": ..., "weight_map": {...}}.
std::map<std::string, std::string> ReadIndex(const fs::path& path) {
  const Json json = ParseJson(ReadTextFile(path, kMaxIndexBytes), path.string(), 8);
  const JsonReader map(JsonReader(json, path.string()).Field("weight_map"), path.string(),
                       "weight_map.");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : map.object().items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    // A plain name: an index must not reach outside of its directory.
    const bool plain = !name.empty() && name.find_first_of(std::string("/\\\0", 3)) == name.npos &&
                       (name.ends_with(".safetensors") || name.ends_with(".bin"));
    Require(plain, ErrorCode::kCorruptData, path.string(), ": weight_map: ", Quoted(tensor),
            ": got ", Quoted(name), ", expected the name of a .safetensors or .bin file");
    files.emplace(tensor, name);
  }
  return files;
}

void OpenShards(const fs::path& index, CheckpointFiles& checkpoint) {
  const std::map<std::string, std::string> where = ReadIndex(index);
  std::set<std::string> shards;
  for (const auto& [tensor, file] : where) shards.insert(file);
  for (const std::string& shard : shards) {
    for (auto& [name, tensor] : OpenFile(index.parent_path() / shard, checkpoint)) {
      const auto it = where.find(name);
      Require(it != where.end() && it->second == shard, ErrorCode::kCorruptData, tensor.file, ": ",
              Quoted(name), ": the index ", index.filename().string(), " does not place it here");
      checkpoint.tensors.emplace(name, std::move(tensor));
    }
  }
  for (const auto& [tensor, file] : where) {
    Require(checkpoint.tensors.contains(tensor), ErrorCode::kNotFound, index.string(),
            ": weight_map: ", Quoted(tensor), ": not in ", file);
  }
}

}  // namespace

CheckpointFiles OpenCheckpoint(const fs::path& directory) {
  CheckpointFiles checkpoint;
  std::error_code ignored;
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    const fs::path whole = directory / name;
    const fs::path index = directory / StrCat(name, ".index.json");
    if (fs::exists(whole, ignored)) {
      checkpoint.tensors = OpenFile(whole, checkpoint);
      return checkpoint;
    }
    if (fs::exists(index, ignored)) {
      OpenShards(index, checkpoint);
      return checkpoint;
    }
  }
  Throw(ErrorCode::kNotFound, directory.string(),
        ": no weights here; expected model.safetensors or pytorch_model.bin, whole or as shards ",
        "with an .index.json");
}

}  // namespace pith
