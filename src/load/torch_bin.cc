#include "load/torch_bin.h"

#include <optional>
#include <string_view>

#include "core/error.h"
#include "load/torch_legacy.h"
#include "load/torch_pickle.h"
#include "load/zip_archive.h"

namespace pith {
namespace {

constexpr std::string_view kPickleMember = "/data.pkl";

using Bytes = std::span<const std::byte>;

// The directory inside of the archive that holds everything: the file's name when it was saved.
std::string FindRoot(const ZipMembers& members, const std::string& source) {
  std::string root;
  for (const auto& [name, bytes] : members) {
    if (!name.ends_with(kPickleMember)) continue;
    Require(root.empty(), ErrorCode::kCorruptData, source, ": two members named data.pkl");
    root = name.substr(0, name.size() - kPickleMember.size());
  }
  Require(!root.empty(), ErrorCode::kCorruptData, source, ": no data.pkl in the archive");
  return root;
}

void RequireLittleEndian(const ZipMembers& members, const std::string& root,
                         const std::string& source) {
  const auto it = members.find(root + "/byteorder");
  if (it == members.end()) return;  // torch before 2.1 knew only this order
  const std::string_view order(reinterpret_cast<const char*>(it->second.data()), it->second.size());
  Require(order == "little", ErrorCode::kUnsupported, source, ": byteorder: got ", Quoted(order),
          ", expected \"little\"");
}

// Whether the strides are those of a row-major tensor without gaps; a size of 1 may have any.
bool IsContiguous(const PickledTensor& tensor) {
  int64_t expected = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];  // no overflow: the caller has checked the product
  }
  return true;
}

// The element behind which nothing of the tensor lies; nothing where one is out of range. With this
// in range all are, since strides are not negative.
std::optional<int64_t> LastElement(const PickledTensor& tensor) {
  int64_t last = tensor.storage_offset;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    int64_t step = 0;
    if (tensor.shape[i] <= 1) continue;
    if (tensor.strides[i] < 0 ||
        __builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  return last;
}

// The tensor's place in its storage, every number of the pickle checked against the file.
void Locate(const PickledTensor& pickled, Bytes storage, const std::string& where,
            StoredTensor& tensor) {
  const int64_t width = *ElementBytes(pickled.dtype_name);
  const int64_t elements = std::ssize(storage) / width;
  Require(pickled.storage_elements == elements && elements * width == std::ssize(storage),
          ErrorCode::kCorruptData, where, ": got a storage of ", storage.size(),
          " bytes, expected ", pickled.storage_elements, " elements of ", pickled.dtype_name);
  const auto count = ElementCount(pickled.shape);
  Require(count.has_value(), ErrorCode::kCorruptData, where, ": got shape ",
          ShapeText(pickled.shape), ", expected sizes from 0 whose product is below 2^62");
  Require(pickled.strides.size() == pickled.shape.size(), ErrorCode::kCorruptData, where,
          ": got strides ", ShapeText(pickled.strides), " for shape ", ShapeText(pickled.shape));
  const auto last = LastElement(pickled);
  Require(pickled.storage_offset >= 0 && pickled.storage_offset <= elements &&
              (*count == 0 || (last.has_value() && *last < elements)),
          ErrorCode::kCorruptData, where, ": got shape ", ShapeText(pickled.shape),
          " with strides ", ShapeText(pickled.strides), " at element ", pickled.storage_offset,
          ", expected to lie in a storage of ", elements, " elements");
  if (*count == 0) return;
  tensor.bytes =
      storage.subspan(pickled.storage_offset * width, (*last - pickled.storage_offset + 1) * width);
  if (IsContiguous(pickled)) return;
  tensor.strides = pickled.strides;
}

StoredTensor Resolve(const PickledTensor& pickled, Bytes storage, const std::string& source) {
  StoredTensor tensor;
  tensor.file = source;
  tensor.dtype_name = pickled.dtype_name;
  tensor.dtype = WeightDType(pickled.dtype_name);
  tensor.shape = pickled.shape;
  Locate(pickled, storage, StrCat(source, ": ", Quoted(pickled.name)), tensor);
  return tensor;
}

TensorTable ReadZip(Bytes file, const std::string& source) {
  const ZipMembers members = ReadZipDirectory(file, source);
  const std::string root = FindRoot(members, source);
  RequireLittleEndian(members, root, source);
  const auto program = members.find(root + std::string(kPickleMember));
  TensorTable table;
  for (const PickledTensor& tensor : ReadStateDictPickle(program->second, source)) {
    const auto storage = members.find(root + "/data/" + tensor.storage_key);
    Require(storage != members.end(), ErrorCode::kCorruptData, source, ": ", Quoted(tensor.name),
            ": no storage ", Quoted(tensor.storage_key), " in the archive");
    table.emplace(tensor.name, Resolve(tensor, storage->second, source));
  }
  return table;
}

TensorTable ReadLegacy(Bytes file, const std::string& source) {
  const LegacyTorchFile legacy = ReadLegacyTorchFile(file, source);
  TensorTable table;
  for (const PickledTensor& tensor : legacy.tensors) {
    const auto storage = legacy.storages.find(tensor.storage_key);
    Require(storage != legacy.storages.end(), ErrorCode::kCorruptData, source, ": ",
            Quoted(tensor.name), ": no storage ", Quoted(tensor.storage_key), " in the file");
    table.emplace(tensor.name, Resolve(tensor, storage->second, source));
  }
  return table;
}

}  // namespace

TensorTable ReadTorchBin(Bytes file, const std::string& source) {
  Require(file.size() >= 4, ErrorCode::kCorruptData, source, ": got ", file.size(),
          " bytes, expected a file of torch.save");
  if (ReadLittle<uint32_t>(file, 0) == 0x04034b50) return ReadZip(file, source);
  if (IsLegacyTorchFile(file)) return ReadLegacy(file, source);
  Throw(ErrorCode::kCorruptData, source, ": neither a zip archive, as torch.save writes, nor the ",
        "format before torch 1.6");
}

}  // namespace pith
