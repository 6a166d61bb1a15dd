#include "load/torch_bin.h"

#include <string_view>

#include "core/error.h"
#include "load/torch_pickle.h"
#include "load/zip_archive.h"

namespace pith {
namespace {

constexpr std::string_view kPickleMember = "/data.pkl";

void RequireZip(std::span<const std::byte> file, const std::string& source) {
  Require(file.size() >= 4, ErrorCode::kCorruptData, source, ": got ", file.size(),
          " bytes, expected a file of torch.save");
  if (ReadLittle<uint32_t>(file, 0) == 0x04034b50) return;
  Require(file[0] != std::byte{0x80}, ErrorCode::kUnsupported, source,
          ": this is torch.save's format before torch 1.6; load it in torch and save it again");
  Throw(ErrorCode::kCorruptData, source, ": not a zip archive, as torch.save writes");
}

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

StoredTensor Resolve(const PickledTensor& pickled, std::span<const std::byte> storage,
                     const std::string& source) {
  const std::string where = StrCat(source, ": ", Quoted(pickled.name));
  StoredTensor tensor;
  tensor.file = source;
  tensor.dtype_name = pickled.dtype_name;
  tensor.dtype = WeightDType(pickled.dtype_name);
  tensor.shape = pickled.shape;
  PITH_CHECK(tensor.dtype.has_value());
  const int64_t width = static_cast<int64_t>(SizeOf(*tensor.dtype));
  const int64_t elements = static_cast<int64_t>(storage.size()) / width;
  Require(pickled.storage_elements == elements && elements * width == std::ssize(storage),
          ErrorCode::kCorruptData, where, ": got a storage of ", storage.size(),
          " bytes, expected ", pickled.storage_elements, " elements of ", pickled.dtype_name);
  const auto count = ElementCount(pickled.shape);
  Require(count.has_value(), ErrorCode::kCorruptData, where, ": got shape ",
          ShapeText(pickled.shape), ", expected sizes from 0 whose product is below 2^62");
  Require(pickled.storage_offset >= 0 && pickled.storage_offset <= elements &&
              *count <= elements - pickled.storage_offset,
          ErrorCode::kCorruptData, where, ": got shape ", ShapeText(pickled.shape), " at element ",
          pickled.storage_offset, ", expected to lie in a storage of ", elements, " elements");
  Require(pickled.strides.size() == pickled.shape.size(), ErrorCode::kCorruptData, where,
          ": got strides ", ShapeText(pickled.strides), " for shape ", ShapeText(pickled.shape));
  Require(*count == 0 || IsContiguous(pickled), ErrorCode::kUnsupported, where, ": got strides ",
          ShapeText(pickled.strides), ", expected a contiguous tensor of shape ",
          ShapeText(pickled.shape));
  tensor.bytes = storage.subspan(pickled.storage_offset * width, *count * width);
  return tensor;
}

}  // namespace

TensorTable ReadTorchBin(std::span<const std::byte> file, const std::string& source) {
  RequireZip(file, source);
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

}  // namespace pith
