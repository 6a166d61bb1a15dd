// Matrices and vectors. "View" never owns, "Owner" does; sizes are 64-bit.
#ifndef PITH_CORE_TENSOR_H_
#define PITH_CORE_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "core/error.h"

namespace pith {

// Row-major [rows, cols] with `stride` elements from one row to the next, in the memory of the
// backend that computes on it: only operators and that backend's own kernels may follow `data`.
template <class T>
struct MatView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatView() = default;
  MatView(T* data, int64_t rows, int64_t cols) : MatView(data, rows, cols, cols) {}
  MatView(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}

  T* Row(int64_t r) const { return data + r * stride; }
  MatView Rows(int64_t begin, int64_t count) const { return {Row(begin), count, cols, stride}; }
  MatView Cols(int64_t begin, int64_t count) const { return {data + begin, rows, count, stride}; }
  bool empty() const { return rows == 0 || cols == 0; }
  operator MatView<const T>() const { return {data, rows, cols, stride}; }  // NOLINT
};

// A vector in the memory of the backend that computes on it.
template <class T>
struct VecView {
  T* data = nullptr;
  int64_t size = 0;

  bool empty() const { return size == 0; }
  VecView Part(int64_t begin, int64_t count) const { return {data + begin, count}; }
  operator VecView<const T>() const { return {data, size}; }  // NOLINT
};

// A row-major, contiguous [rows, cols] in the host's memory, which any code may read. No conversion
// leads to or from a MatView: Backend::Upload and Download do.
template <class T>
struct HostView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;

  T* Row(int64_t r) const { return data + r * cols; }
  HostView Rows(int64_t begin, int64_t count) const { return {Row(begin), count, cols}; }
  bool empty() const { return rows == 0 || cols == 0; }
  operator HostView<const T>() const { return {data, rows, cols}; }  // NOLINT
};

// Uninitialised host storage of trivially copyable T, aligned to a cache line: scratch of kernels
// that run on the host. What a model keeps comes from its backend (ops/backend.h).
template <class T>
class BufferOwner {
 public:
  BufferOwner() = default;
  explicit BufferOwner(int64_t size) { Resize(size); }

  // Keeps nothing of the old content; never shrinks its allocation.
  void Resize(int64_t size) {
    PITH_CHECK(size >= 0);
    if (size > capacity_) {
      data_.reset(static_cast<T*>(::operator new(size * sizeof(T), std::align_val_t{64})));
      capacity_ = size;
    }
    size_ = size;
  }
  T* data() const { return data_.get(); }
  int64_t size() const { return size_; }
  size_t bytes() const { return capacity_ * sizeof(T); }

 private:
  struct Free {
    void operator()(T* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

// An owned, contiguous [rows, cols] matrix, uninitialised.
template <class T>
class MatOwner {
 public:
  MatOwner() = default;
  MatOwner(int64_t rows, int64_t cols) { Resize(rows, cols); }
  void Resize(int64_t rows, int64_t cols) {
    buffer_.Resize(rows * cols);
    rows_ = rows;
    cols_ = cols;
  }
  MatView<T> view() const { return {buffer_.data(), rows_, cols_}; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  size_t bytes() const { return buffer_.bytes(); }

 private:
  BufferOwner<T> buffer_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

}  // namespace pith

#endif  // PITH_CORE_TENSOR_H_
