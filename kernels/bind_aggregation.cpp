// Python bindings of the sparse aggregation and the forms of adjacency it takes.
#include <pybind11/stl.h>

#include <optional>

#include "aggregate.h"
#include "bind_all.h"
#include "bind_numpy.h"

namespace gnnflow {
namespace {

Csr borrow_csr(const py::array_t<int64_t>& indptr, const py::array_t<int64_t>& indices) {
  if (indptr.size() < 1) throw py::value_error("indptr must have at least one entry, got 0");
  return {indptr.data(), indptr.size() - 1, indices.data(), indices.size()};
}

py::tuple transpose_csr(const py::array& indptr, const py::array& src, int64_t num_sources,
                        int num_threads) {
  const py::array_t<int64_t> begins = int64_array(indptr, "indptr");
  const py::array_t<int64_t> sources = int64_array(src, "src");
  if (num_sources < 0) {
    throw py::value_error("num_sources must not be negative, got " + std::to_string(num_sources));
  }
  const Csr csr = borrow_csr(begins, sources);
  TransposedCsr result;
  {
    py::gil_scoped_release nogil;
    result = transpose(csr, num_sources, num_threads);
  }
  return py::make_tuple(to_numpy(std::move(result.indptr)), to_numpy(std::move(result.indices)),
                        to_numpy(std::move(result.permutation)));
}

py::array edge_index(const py::array& indptr, const py::array& src, int num_threads) {
  const py::array_t<int64_t> begins = int64_array(indptr, "indptr");
  const py::array_t<int64_t> sources = int64_array(src, "src");
  const Csr csr = borrow_csr(begins, sources);
  Buffer<int64_t> list;
  {
    py::gil_scoped_release nogil;
    list = edge_list(csr, num_threads);
  }
  return to_numpy(std::move(list)).reshape({py::ssize_t{2}, sources.size()});
}

// Checks a matrix of one floating type: contiguous, two dimensions.
template <typename Value>
void check_matrix(const py::array& matrix, const char* name) {
  if (matrix.ndim() != 2 || !(matrix.flags() & py::array::c_style) ||
      !matrix.dtype().is(py::dtype::of<Value>())) {
    throw py::value_error(std::string(name) +
                          " must be a contiguous matrix of float32 or float64, the same as out; "
                          "got " +
                          py::str(matrix.dtype()).cast<std::string>() + " with " +
                          std::to_string(matrix.ndim()) + " dimensions");
  }
}

template <typename Value>
void run(py::array& out, const Csr& csr, const py::array& x, Scale scale, const int64_t* lengths,
         int num_threads) {
  check_matrix<Value>(out, "out");
  check_matrix<Value>(x, "x");
  if (!out.writeable()) throw py::value_error("out must be writeable");
  if (out.shape(0) != csr.num_rows || out.shape(1) != x.shape(1)) {
    throw py::value_error("out must have the shape [" + std::to_string(csr.num_rows) + ", " +
                          std::to_string(x.shape(1)) + "], got [" + std::to_string(out.shape(0)) +
                          ", " + std::to_string(out.shape(1)) + "]");
  }
  const Matrix<Value> matrix{static_cast<const Value*>(x.data()), x.shape(0), x.shape(1)};
  Value* const to = static_cast<Value*>(out.mutable_data());
  py::gil_scoped_release nogil;
  spmm<Value>(csr, matrix, scale, lengths, to, num_threads);
}

void run_any(py::array& out, const Csr& csr, const py::array& x, Scale scale,
             const int64_t* lengths, int num_threads) {
  if (out.dtype().is(py::dtype::of<double>())) {
    run<double>(out, csr, x, scale, lengths, num_threads);
  } else {
    run<float>(out, csr, x, scale, lengths, num_threads);
  }
}

void spmm_forward(py::array out, const py::array& indptr, const py::array& src, const py::array& x,
                  bool mean, int num_threads) {
  const py::array_t<int64_t> begins = int64_array(indptr, "indptr");
  const py::array_t<int64_t> sources = int64_array(src, "src");
  run_any(out, borrow_csr(begins, sources), x, mean ? Scale::kByRow : Scale::kNone, nullptr,
          num_threads);
}

void spmm_backward(py::array out, const py::array& transposed_indptr,
                   const py::array& transposed_dst, const py::array& grad,
                   const std::optional<py::array>& mean_indptr, int num_threads) {
  const py::array_t<int64_t> begins = int64_array(transposed_indptr, "transposed_indptr");
  const py::array_t<int64_t> destinations = int64_array(transposed_dst, "transposed_dst");
  py::array_t<int64_t> lengths;
  if (mean_indptr) {
    lengths = int64_array(*mean_indptr, "mean_indptr");
    if (grad.ndim() < 1 || lengths.size() != grad.shape(0) + 1) {
      throw py::value_error("mean_indptr must have one entry more than grad has rows, got " +
                            std::to_string(lengths.size()));
    }
  }
  run_any(out, borrow_csr(begins, destinations), grad, mean_indptr ? Scale::kByIndex : Scale::kNone,
          mean_indptr ? lengths.data() : nullptr, num_threads);
}

}  // namespace

void bind_aggregation(py::module_& module) {
  module.def("transpose_csr", &transpose_csr, py::arg("indptr"), py::arg("src"),
             py::arg("num_sources"), py::arg("num_threads") = 1);
  module.def("edge_index", &edge_index, py::arg("indptr"), py::arg("src"),
             py::arg("num_threads") = 1);
  module.def("spmm", &spmm_forward, py::arg("out"), py::arg("indptr"), py::arg("src"), py::arg("x"),
             py::arg("mean") = false, py::arg("num_threads") = 1);
  module.def("spmm_backward", &spmm_backward, py::arg("out"), py::arg("transposed_indptr"),
             py::arg("transposed_dst"), py::arg("grad"), py::arg("mean_indptr") = py::none(),
             py::arg("num_threads") = 1);
}

}  // namespace gnnflow
