// `retort inspect`: what a file or folder is, and what is in it.
#include <fstream>

#include "base/digest.h"
#include "base/text.h"
#include "gguf/architecture.h"
#include "gguf/file.h"
#include "retort/inspect_data.h"
#include "retort/verb.h"

namespace retort::app {
namespace {

namespace fs = std::filesystem;

// Scalars as they are; arrays by type and length, since a vocabulary would drown everything else.
Json value_json(const gguf::Value& value) {
  return std::visit(
      [&](const auto& held) -> Json {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string> || std::is_arithmetic_v<T>) {
          return held;
        } else {
          if (held.size() > 64) return gguf::type_text(value);
          Json list = Json::array();
          for (const typename T::value_type& element : held) list.push_back(element);
          return list;
        }
      },
      value);
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t length : shape) text += (text.empty() ? "" : " x ") + std::to_string(length);
  return text;
}

Result<void> inspect_gguf(const fs::path& path, const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(const gguf::File file, gguf::File::open(path));
  RETORT_ASSIGN(const Digest digest, sha256_file(path));
  const auto supported = gguf::check_model(file);
  std::int64_t parameters = 0;
  std::map<std::string, std::pair<std::int64_t, std::uint64_t>> types;
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    parameters += tensor.elements();
    auto& [count, bytes] = types[std::string(gguf::name_of(tensor.type))];
    ++count;
    bytes += tensor.size_bytes;
  }
  RETORT_ASSIGN(const auto architecture, file.metadata().get_or<std::string>("general.architecture", "(none)"));
  RETORT_ASSIGN(const auto licence, file.metadata().get_or<std::string>("general.license", ""));
  if (context.json) {
    Json metadata = Json::object();
    for (const auto& [key, value] : file.metadata().entries()) metadata[key] = value_json(value);
    Json tensors = Json::array();
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      tensors.push_back(
          {{"name", tensor.name}, {"type", std::string(gguf::name_of(tensor.type))}, {"shape", tensor.shape}});
    }
    context.emit({{"kind", "gguf"},
                  {"path", path.string()},
                  {"size_bytes", file.size_bytes()},
                  {"sha256", digest.hex()},
                  {"version", file.version()},
                  {"architecture", architecture},
                  {"type", file.file_type_name()},
                  {"licence", licence.empty() ? Json() : Json(licence)},
                  {"parameters", parameters},
                  {"usable", supported.has_value()},
                  {"reason", supported ? Json() : Json(supported.error().message)},
                  {"metadata", metadata},
                  {"tensors", tensors}});
    return {};
  }
  std::ostream& out = context.out;
  out << "GGUF file (version " << file.version() << "), " << human_bytes(file.size_bytes()) << "\n  sha256        "
      << digest.hex() << "\n  architecture  " << architecture << "\n  type          " << file.file_type_name()
      << "\n  licence       " << (licence.empty() ? "(not stated)" : licence) << "\n  parameters    "
      << human_count(parameters) << "\n  usable here   "
      << (supported ? std::string("yes") : "no: " + supported.error().message) << "\n\nMetadata\n";
  for (const auto& [key, value] : file.metadata().entries()) {
    std::string text = gguf::value_text(value, 100);
    for (char& c : text) c = static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    out << "  " << key << "  (" << gguf::type_text(value) << ")  " << text << '\n';
  }
  out << "\nTensors: " << file.tensors().size() << '\n';
  for (const auto& [type, sum] : types) {
    out << "  " << type << "  " << sum.first << " tensors, " << human_bytes(sum.second) << '\n';
  }
  if (flags.tensors) {
    for (const gguf::TensorInfo& tensor : file.tensors()) {
      out << "  " << tensor.name << "  " << gguf::name_of(tensor.type) << "  " << shape_text(tensor.shape) << '\n';
    }
  } else if (!file.tensors().empty()) {
    out << "  (--tensors lists them)\n";
  }
  return {};
}

std::string first_bytes(const fs::path& path) {
  std::string bytes(16, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(in.gcount(), 0)));
  return bytes;
}

Result<void> dispatch(const InspectFlags& flags, Context& context) {
  const fs::path path = flags.target;
  std::error_code error;
  if (fs::is_directory(path, error)) return inspect_folder(flags, context);
  if (!fs::exists(path, error)) {
    if (Digest::from_hex(flags.target)) return inspect_exchange_id(flags, context);
    RETORT_ASSIGN(const fs::path model, model_path(context, flags.target));
    return inspect_gguf(model, flags, context);
  }
  const std::string start = first_bytes(path);
  if (start.starts_with("SQLite format 3")) return inspect_store(flags, context);
  if (path.extension() == ".safetensors") return inspect_weights(flags, context);
  if (start.starts_with("{")) {
    // A dataset names itself; everything else that starts so should be an exchange.
    if (path.filename() == "dataset.json") return inspect_dataset(path, flags, context);
    return inspect_exchange_file(flags, context);
  }
  return inspect_gguf(path, flags, context);
}

}  // namespace

void register_inspect(VerbSetup& verb) {
  const auto flags = std::make_shared<InspectFlags>();
  verb.app
      .add_option("target", flags->target,
                  "A GGUF file, run, bundle, dataset.json, store, exchange (file, or id with --store) or checkpoint")
      ->type_name("PATH")
      ->required();
  verb.app.add_option("-m,--model", flags->model, "Whose tokenizer shows token ids as text; a run's teacher is found")
      ->type_name("MODEL");
  verb.app.add_option("--store", flags->store, "Where exchanges are; a run's own is found")->type_name("FILE");
  verb.app.add_option("--supervise", flags->supervise, "Which tokens are marked as targets: assistant or sampled")
      ->check(CLI::IsMember({"assistant", "sampled"}))
      ->capture_default_str();
  verb.app.add_option("-n,--count", flags->count, "Examples to show")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.app.add_flag("--tensors", flags->tensors, "List every tensor of a model or checkpoint");
  verb.action = [flags](Context& context) { return dispatch(*flags, context); };
}

}  // namespace retort::app
