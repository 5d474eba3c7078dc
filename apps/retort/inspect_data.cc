#include "retort/inspect_data.h"

#include <limits>
#include <utility>

#include "base/digest.h"
#include "base/files.h"
#include "base/text.h"
#include "dataset/dataset.h"
#include "dataset/example.h"
#include "exchange/exchange.h"
#include "exporter/bundle_files.h"
#include "exporter/lineage.h"
#include "model/decoder_config.h"
#include "model/safetensors.h"
#include "store/exchange_store.h"
#include "tokens/chat_format.h"
#include "tokens/rendered_exchange.h"
#include "tokens/tokenizer.h"

namespace retort::app {
namespace {

namespace fs = std::filesystem;

Result<std::optional<tokens::Tokenizer>> tokenizer_of(const InspectFlags& flags, Context& context) {
  if (flags.model.empty()) return std::optional<tokens::Tokenizer>();
  RETORT_ASSIGN(const fs::path path, model_path(context, flags.model));
  RETORT_ASSIGN(tokens::Tokenizer tokenizer, tokens::Tokenizer::load(path));
  return std::optional<tokens::Tokenizer>(std::move(tokenizer));
}

// Answers that came as text have the tokens that the model which is named makes of them.
dataset::ReadExchange reader_of(const store::ExchangeStore& store, const std::optional<tokens::ChatFormat>& format) {
  return [&store, &format](const Digest& id) -> Result<Exchange> {
    RETORT_ASSIGN(Exchange exchange, store.get(id));
    if (!format) return exchange;
    return tokens::with_rendered_tokens(std::move(exchange), *format, std::numeric_limits<std::size_t>::max());
  };
}

dataset::Decode decoder_of(const std::optional<tokens::Tokenizer>& tokenizer) {
  return [&tokenizer](std::span<const TokenId> ids) {
    if (tokenizer) return tokenizer->decode(ids, true);
    std::string text;
    for (const TokenId id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
    return text;
  };
}

// The store that was named, or the one of the run that `path` lies in.
Result<store::ExchangeStore> open_store(const InspectFlags& flags, const fs::path& path) {
  if (!flags.store.empty()) return store::ExchangeStore::open_read_only(flags.store);
  std::error_code error;
  fs::path folder = fs::absolute(path, error).lexically_normal().parent_path();
  for (int up = 0; up < 3 && !folder.empty(); ++up, folder = folder.parent_path()) {
    const fs::path candidate = folder / "collect" / "exchanges.sqlite";
    if (fs::exists(candidate, error)) return store::ExchangeStore::open_read_only(candidate);
  }
  return caller_error("The store of exchanges wasn't found near '" + path.string() +
                      "'. Name it: --store runs/NAME/collect/exchanges.sqlite");
}

Result<void> show_exchange(const Digest& id, const Exchange& exchange, const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(const auto tokenizer, tokenizer_of(flags, context));
  if (context.json) {
    RETORT_ASSIGN(Json document, parse_json(to_canonical_bytes(exchange), "exchange"));
    context.emit({{"kind", "exchange"}, {"id", id.hex()}, {"exchange", document}});
    return {};
  }
  std::ostream& out = context.out;
  out << "Exchange " << id.hex() << '\n';
  for (const Message& message : exchange.prompt.messages)
    out << "\n[" << name_of(message.role) << "]\n" << message.content << '\n';
  out << "\n[assistant, " << name_of(exchange.completion.finish_reason) << "]\n" << exchange.completion.text << '\n';
  const Provenance& provenance = exchange.provenance;
  out << "\nMade by: " << name_of(provenance.generated_by);
  if (provenance.served) {
    out << ", " << provenance.served->model << " at " << provenance.served->endpoint << " (" << provenance.served->api
        << ")";
  }
  if (provenance.model)
    out << ", " << provenance.model->name << " (" << provenance.model->file_digest.short_hex() << "…) as "
        << provenance.model->run_as;
  out << "\nPrompt from: " << provenance.prompt_source << "\nTerms: " << provenance.terms
      << "\nAt: " << provenance.created_at << ", code " << provenance.code_version
      << "\nTokens: " << exchange.tokens.ids.size() << '\n';
  const dataset::Decode decode = decoder_of(tokenizer);
  for (const TokenSpan& span : exchange.tokens.spans) {
    const auto ids = std::span(exchange.tokens.ids).subspan(span.begin, span.end - span.begin);
    out << "  " << name_of(span.kind) << (span.sampled ? " (sampled)" : "") << " [" << span.begin << ", " << span.end
        << "): " << decode(ids) << '\n';
  }
  return {};
}

void print_json_lines(std::ostream& out, const Json& object) {
  for (const auto& [key, value] : object.items()) {
    std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (text.size() > 120) text = text.substr(0, 117) + "...";
    out << "  " << key << ": " << text << '\n';
  }
}

}  // namespace

Result<void> inspect_exchange_file(const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(std::string bytes, read_file(flags.target));
  if (!bytes.empty() && bytes.back() == '\n') bytes.pop_back();
  auto exchange = from_canonical_bytes(bytes);
  if (!exchange) {
    return with_context(exchange.error(), flags.target +
                                              ": this isn't the canonical form of an exchange, and no dataset.json "
                                              "either");
  }
  return show_exchange(exchange_id(*exchange), *exchange, flags, context);
}

Result<void> inspect_exchange_id(const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(const Digest id, Digest::from_hex(flags.target));
  RETORT_ASSIGN(const store::ExchangeStore store, open_store(flags, fs::current_path() / "x"));
  RETORT_ASSIGN(const Exchange exchange, store.get(id));
  return show_exchange(id, exchange, flags, context);
}

Result<void> inspect_store(const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(const store::ExchangeStore store, store::ExchangeStore::open_read_only(flags.target));
  RETORT_ASSIGN(const std::vector<Digest> ids, store.ids());
  const auto shown = std::min<std::size_t>(ids.size(), static_cast<std::size_t>(flags.count));
  if (context.json) {
    Json list = Json::array();
    for (const Digest& id : ids) list.push_back(id.hex());
    context.emit({{"kind", "store"}, {"exchanges", ids.size()}, {"ids", list}});
    return {};
  }
  context.out << "Store of " << human_count(static_cast<std::int64_t>(ids.size())) << " exchanges\n";
  for (std::size_t i = 0; i < shown; ++i) {
    RETORT_ASSIGN(const Exchange exchange, store.get(ids[i]));
    context.out << '\n';
    RETORT_TRY(show_exchange(ids[i], exchange, flags, context));
  }
  return {};
}

Result<void> inspect_dataset(const fs::path& path, const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(const dataset::Dataset data, dataset::load(path));
  RETORT_ASSIGN(const dataset::Supervision supervision, dataset::supervision_from_name(flags.supervise));
  const Digest digest = dataset::dataset_digest(data);
  Json document = {{"kind", "dataset"},          {"digest", digest.hex()},
                   {"train", data.train.size()}, {"held_out", data.held_out.size()},
                   {"seed", data.seed},          {"choices", data.choices}};
  const auto store = open_store(flags, path);
  RETORT_ASSIGN(const auto tokenizer, tokenizer_of(flags, context));
  const dataset::Decode decode = decoder_of(tokenizer);
  Json examples = Json::array();
  std::string text;
  if (store) {
    const auto shown = std::min<std::size_t>(data.train.size(), static_cast<std::size_t>(flags.count));
    std::optional<tokens::ChatFormat> format;
    if (tokenizer) {
      RETORT_ASSIGN(const fs::path model, model_path(context, flags.model));
      // A file without a template still decodes.
      if (auto loaded = tokens::ChatFormat::load(model)) format = std::move(*loaded);
    }
    RETORT_ASSIGN(const auto made,
                  dataset::materialise(reader_of(*store, format), std::span(data.train).first(shown), supervision));
    for (const dataset::Example& example : made) {
      Json parts = Json::array();
      for (const dataset::MarkedText& part : dataset::mark(example, decode)) {
        parts.push_back({{"text", part.text}, {"supervised", part.supervised}});
      }
      examples.push_back({{"exchange", example.exchange_id.hex()},
                          {"ids", example.ids},
                          {"supervised", example.supervised},
                          {"targets", example.targets()},
                          {"parts", parts}});
      text += "\n" + example.exchange_id.short_hex() + "…  " + std::to_string(example.ids.size()) + " tokens, " +
              std::to_string(example.targets()) + " of them targets (between ⟦ and ⟧):\n" +
              dataset::render_marked(example, decode) + "\n";
    }
  }
  if (context.json) {
    document["examples"] = store ? examples : Json();
    context.emit(document);
    return {};
  }
  context.out << "Dataset " << digest.hex() << "\n  train     " << data.train.size() << " exchanges\n  held out  "
              << data.held_out.size() << " exchanges\n  seed      " << data.seed << "\nChoices\n";
  if (data.choices.is_object()) print_json_lines(context.out, data.choices);
  if (!store) {
    context.out << "\nExamples aren't shown: " << store.error().message << '\n';
  } else {
    context.out << text;
    if (!tokenizer) context.out << "\n(-m MODEL shows text instead of ids)\n";
  }
  return {};
}

Result<void> inspect_weights(const InspectFlags& flags, Context& context) {
  RETORT_ASSIGN(const model::SafetensorsReader reader, model::SafetensorsReader::open(flags.target));
  RETORT_ASSIGN(const Digest digest, sha256_file(flags.target));
  Json metadata = Json::object();
  for (const auto& [key, value] : reader.metadata()) {
    const auto parsed = value.starts_with("{") ? parse_json(value, key) : Result<Json>(caller_error(""));
    metadata[key] = parsed ? *parsed : Json(value);
  }
  Json tensors = Json::array();
  std::int64_t elements = 0;
  for (const model::StoredTensor& tensor : reader.tensors()) {
    std::int64_t count = 1;
    for (const std::int64_t length : tensor.shape) count *= length;
    elements += count;
    tensors.push_back(
        {{"name", tensor.name}, {"type", std::string(model::name_of(tensor.type))}, {"shape", tensor.shape}});
  }
  if (context.json) {
    context.emit({{"kind", "checkpoint"},
                  {"sha256", digest.hex()},
                  {"values", elements},
                  {"metadata", metadata},
                  {"tensors", tensors}});
    return {};
  }
  std::ostream& out = context.out;
  out << "Checkpoint (safetensors)\n  sha256  " << digest.hex() << "\n  values  " << human_count(elements) << " in "
      << reader.tensors().size() << " tensors\nMetadata\n";
  print_json_lines(out, metadata);
  if (flags.tensors) {
    for (const Json& tensor : tensors) {
      out << "  " << tensor["name"].get<std::string>() << "  " << tensor["type"].get<std::string>() << "  "
          << tensor["shape"].dump() << '\n';
    }
  } else {
    out << "(--tensors lists them)\n";
  }
  return {};
}

Result<void> inspect_folder(const InspectFlags& flags, Context& context) {
  const fs::path folder = flags.target;
  std::error_code error;
  std::ostream& out = context.out;
  if (fs::exists(folder / exporter::kBundleFile, error)) {
    RETORT_ASSIGN(const std::string text, read_file(folder / exporter::kLineageFile));
    RETORT_ASSIGN(const Json json, parse_json(text, exporter::kLineageFile));
    RETORT_ASSIGN(const exporter::Lineage lineage, exporter::lineage_from_json(json, exporter::kLineageFile));
    if (context.json) {
      context.emit({{"kind", "bundle"}, {"lineage", json}});
      return {};
    }
    out << "Bundle of '" << lineage.name << "', student of '" << lineage.teacher.name
        << "': " << exporter::start_text(lineage) << "\nLineage\n";
    print_json_lines(out, json);
    out << "`retort verify " << folder.string() << "` checks it.\n";
    return {};
  }
  const fs::path manifest = folder / "manifest.json";
  if (!fs::exists(manifest, error)) {
    return caller_error("'" + folder.string() +
                        "' is neither a run (no manifest.json) nor a bundle (no bundle.json). Expected runs/NAME or "
                        "runs/NAME/bundle, or a file.");
  }
  RETORT_ASSIGN(const std::string text, read_file(manifest));
  RETORT_ASSIGN(const Json json, parse_json(text, manifest.string()));
  if (context.json) {
    context.emit({{"kind", "run"}, {"manifest", json}});
    return {};
  }
  out << "Run " << folder.string() << '\n';
  const auto stages = json.is_object() ? json.find("stages") : json.end();
  if (stages != json.end() && stages->is_array()) {
    for (const Json& stage : *stages) {
      if (!stage.is_object()) continue;
      const bool done = stage.value("done", Json()) == Json(true);
      const Json seconds = stage.value("seconds", Json());
      const Json summary = stage.value("summary", Json());
      const Json name = stage.value("name", Json());
      out << "  " << (done ? "done  " : "      ") << (name.is_string() ? name.get<std::string>() : "?") << "  "
          << (seconds.is_number() ? human_seconds(seconds.get<double>()) : "") << "  "
          << (summary.is_string() ? summary.get<std::string>() : "") << '\n';
    }
  }
  if (fs::exists(folder / "dataset" / "dataset.json", error)) {
    out << "\n`retort inspect " << (folder / "dataset/dataset.json").string() << "` shows the examples, "
        << "`retort verify " << (folder / "bundle").string() << "` checks what was made.\n";
  }
  return {};
}

}  // namespace retort::app
