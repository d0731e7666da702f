// Lets operators without GEMMs run without a call of Python, though a dispatch mode sees all others.
//
// A dispatch mode of PyTorch costs every operator two conversions of its arguments and several calls
// of Python. Operators that hold no GEMM get a kernel that stands before it, at the dispatch key with
// which a mode's work begins. It knows from Python what is known of storages. Where the mode would
// only run the operator, and record nothing of its result, it runs at once without the mode;
// otherwise, and in threads that nobody follows, it does what PyTorch does at this key.

#include <ATen/SequenceNumber.h>
#include <ATen/core/PythonFallbackKernel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using c10::DispatchKey;
using c10::DispatchKeySet;

// The first key of a dispatch mode, above autograd and autocast. PyTorch has a fallback for it, and
// no operator's own kernel.
constexpr DispatchKey kKey = DispatchKey::PythonTLSSnapshot;

// Facts of an operator, as Python tells them.
constexpr int64_t kView = 1;     // its result is its argument's memory
constexpr int64_t kGathers = 2;  // it may take whole matrices out of its first argument

// What is known of a storage, as Python tells it.
constexpr int64_t kWeight = 1;  // it descends of weights alone; all other bits: of something else

// Of autograd nodes of one operator: more are taken for those of several.
constexpr int64_t kLevels = 8;

// What one tracer knows of storages. Kept as long as a thread points to it.
struct Known {
  mutable std::mutex mutex;
  std::unordered_map<const void*, int64_t> origins;
  std::atomic<bool> open = true;
};

struct Nodes {
  int64_t first, last;
};

struct Follower {
  std::shared_ptr<Known> known;
  const void* mode;  // the Python object of the dispatch mode
  Nodes* nodes;      // the tracer's; valid while `known` is open
};

// Who follows this thread, the newest last.
thread_local std::vector<Follower> followers;

std::mutex operators_mutex;
std::unordered_map<const void*, int64_t>& operators() {
  static auto* table = new std::unordered_map<const void*, int64_t>;
  return *table;
}

std::mutex tracers_mutex;
std::unordered_map<int64_t, std::shared_ptr<Known>>& tracers() {
  static auto* table = new std::unordered_map<int64_t, std::shared_ptr<Known>>;
  return *table;
}

const void* identity(const c10::OperatorHandle& op) { return &op.operator_name(); }

// Tensors whose operators are not run by kernels for plain tensors at once.
const DispatchKeySet& unusual() {
  static const DispatchKeySet keys({
      DispatchKey::Python, DispatchKey::Functionalize, DispatchKey::Conjugate,
      DispatchKey::Negative, DispatchKey::ZeroTensor, DispatchKey::FuncTorchBatched,
      DispatchKey::BatchedNestedTensor, DispatchKey::Batched, DispatchKey::FuncTorchGradWrapper,
      DispatchKey::NestedTensor, DispatchKey::AutogradNestedTensor,
  });
  return keys;
}

// States of a thread in which an operator may become others before the mode sees it.
const DispatchKeySet& transforming() {
  static const DispatchKeySet keys({
      DispatchKey::FuncTorchDynamicLayerFrontMode, DispatchKey::FuncTorchDynamicLayerBackMode,
      DispatchKey::FuncTorchVmapMode, DispatchKey::VmapMode, DispatchKey::Functionalize,
      DispatchKey::PreDispatch, DispatchKey::PythonDispatcher, DispatchKey::Tracer,
  });
  return keys;
}

// Sums up what is known of an operator's tensors.
struct Origins {
  const Known& known;
  int64_t together = 0;
  bool some = false, all = true, first = true, first_known = false, plain = true;

  void see(const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.unsafeGetTensorImpl()->is_wrapped_number()) return;
    if (tensor.key_set().has_any(unusual())) {
      plain = false;
      return;
    }
    int64_t origin = 0;
    if (tensor.has_storage()) {
      const auto* storage = tensor.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl();
      const auto found = known.origins.find(storage);
      if (found != known.origins.end()) origin = found->second;
    }
    if (first) first_known = origin != 0;
    first = false;
    some |= origin != 0;
    all &= origin != 0;
    together |= origin;
  }

  void see(const c10::IValue& value) {
    if (value.isTensor()) {
      see(value.toTensor());
    } else if (value.isList()) {
      const auto& list = value.toListRef();
      for (const c10::IValue& element : list) see(element);
    }
  }
};

// Whether the mode would run the operator and record nothing.
bool passes(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  int64_t facts;
  {
    const std::lock_guard<std::mutex> lock(operators_mutex);
    const auto found = operators().find(identity(op));
    if (found == operators().end() || found->second < 0) return false;
    facts = found->second;
  }
  const Known& known = *followers.back().known;
  const std::lock_guard<std::mutex> lock(known.mutex);
  Origins origins{known};
  for (const c10::IValue& value : torch::jit::last(stack, op.schema().arguments().size())) {
    origins.see(value);
  }
  if (!origins.plain) return false;
  if ((facts & kView) || !origins.some) return true;
  // With another tensor beside them, weights make no weight, but where they are gathered.
  return origins.together == kWeight && !origins.all &&
         !((facts & kGathers) && origins.first_known);
}

// Whether this thread's only mode is the tracer's, and nothing comes between the two.
bool alone() {
  using c10::impl::TorchDispatchModeTLS;
  if (followers.empty() || TorchDispatchModeTLS::stack_len() != 1) return false;
  const Follower& follower = followers.back();
  if (!follower.known->open) return false;
  const auto& mode = TorchDispatchModeTLS::get_stack_at(0);
  if (mode->ptr(&mode->pyinterpreter()) != follower.mode) return false;
  const auto keys = c10::impl::tls_local_dispatch_key_set();
  // Autocast, which is at work where it is not excluded, makes and keeps weights of other types.
  constexpr DispatchKeySet idle = c10::default_excluded_set;
  return !keys.included_.has_any(transforming()) && (keys.excluded_ & idle) == idle;
}

// Note the autograd nodes that were made since the last operator, as Python does for those it sees.
void note_nodes() {
  Nodes& nodes = *followers.back().nodes;
  const int64_t newest = static_cast<int64_t>(at::sequence_number::peek()) - 1;
  const bool none = nodes.first > nodes.last;
  if (!none && newest == nodes.last) return;
  const int64_t first = none ? newest : nodes.last + 1;
  nodes.first = std::min(std::max(first, newest - kLevels), newest);
  nodes.last = newest;
}

void run(const c10::OperatorHandle& op, DispatchKeySet keys, torch::jit::Stack* stack) {
  const auto after = keys & DispatchKeySet(DispatchKeySet::FULL_AFTER, kKey);
  if (alone() && passes(op, *stack)) {
    const DispatchKeySet mode({DispatchKey::Python, kKey});
    {
      const c10::impl::ExcludeDispatchKeyGuard guard(mode);
      op.redispatchBoxed(after - mode, stack);
    }
    note_nodes();
  } else {
    const at::impl::MaybeSetTLSOnEntryGuard guard;
    op.redispatchBoxed(after, stack);
  }
}

}  // namespace

// Gives an operator of aten the kernel, and its facts, also later; below 0 it never passes. Returns 0,
// or 1 if there is no such operator, or somebody else has given it a kernel.
EXPORT int64_t accelsim_passing_operator(const char* name, const char* overload, int64_t facts) {
  static auto* library = new torch::Library(torch::Library::IMPL, "aten", kKey, __FILE__, __LINE__);
  const std::lock_guard<std::mutex> lock(operators_mutex);
  try {
    const auto op = c10::Dispatcher::singleton().findSchema({name, overload});
    if (!op) return 1;
    const bool known = operators().count(identity(*op));
    if (!known && op->hasKernelForDispatchKey(kKey)) return 1;
    operators()[identity(*op)] = facts;
    if (known) return 0;
    const std::string full = toString(op->operator_name());
    library->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&run>());
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

// Begins what is known of a tracer; the number is not in use.
EXPORT void accelsim_passing_open(int64_t tracer) {
  const std::lock_guard<std::mutex> lock(tracers_mutex);
  tracers()[tracer] = std::make_shared<Known>();
}

EXPORT void accelsim_passing_close(int64_t tracer) {
  const std::lock_guard<std::mutex> lock(tracers_mutex);
  const auto found = tracers().find(tracer);
  found->second->open = false;
  tracers().erase(found);
}

// Records what is known of a storage; 0 for nothing.
EXPORT void accelsim_passing_mark(int64_t tracer, const void* storage, int64_t origin) {
  const std::lock_guard<std::mutex> lock(tracers_mutex);
  Known& known = *tracers().at(tracer);
  const std::lock_guard<std::mutex> inner(known.mutex);
  if (origin) {
    known.origins[storage] = origin;
  } else {
    known.origins.erase(storage);
  }
}

// Has operators of this thread pass while its only mode is this one.
EXPORT void accelsim_passing_enter(int64_t tracer, const void* mode, void* nodes) {
  const std::lock_guard<std::mutex> lock(tracers_mutex);
  followers.push_back({tracers().at(tracer), mode, static_cast<Nodes*>(nodes)});
}

EXPORT void accelsim_passing_leave() { followers.pop_back(); }
