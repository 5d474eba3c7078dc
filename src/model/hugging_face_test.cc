#include "model/hugging_face.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>

#include "base/files.h"
#include "base/random.h"
#include "model/decoder.h"

namespace retort::model {
namespace {

using ::testing::HasSubstr;
using Values = std::map<std::string, std::vector<float>>;

std::int64_t count_of(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

// A tiny Qwen3 as its authors would write it: nothing here goes through the code under test.
struct Qwen3 {
  static constexpr int kLayers = 2, kHidden = 12, kHeads = 4, kKvHeads = 2, kHeadDim = 6, kIntermediate = 10,
                       kVocabulary = 17;
  static constexpr double kEpsilon = 1e-6, kTheta = 1e6, kFactor = 4, kOriginal = 32;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  Values values;

  Qwen3() {
    shapes["model.embed_tokens.weight"] = {kVocabulary, kHidden};
    shapes["model.norm.weight"] = {kHidden};
    shapes["lm_head.weight"] = {kVocabulary, kHidden};
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string block = "model.layers." + std::to_string(layer) + ".";
      shapes[block + "input_layernorm.weight"] = {kHidden};
      shapes[block + "self_attn.q_proj.weight"] = {kHeads * kHeadDim, kHidden};
      shapes[block + "self_attn.k_proj.weight"] = {kKvHeads * kHeadDim, kHidden};
      shapes[block + "self_attn.v_proj.weight"] = {kKvHeads * kHeadDim, kHidden};
      shapes[block + "self_attn.q_norm.weight"] = {kHeadDim};
      shapes[block + "self_attn.k_norm.weight"] = {kHeadDim};
      shapes[block + "self_attn.o_proj.weight"] = {kHidden, kHeads * kHeadDim};
      shapes[block + "post_attention_layernorm.weight"] = {kHidden};
      shapes[block + "mlp.gate_proj.weight"] = {kIntermediate, kHidden};
      shapes[block + "mlp.up_proj.weight"] = {kIntermediate, kHidden};
      shapes[block + "mlp.down_proj.weight"] = {kHidden, kIntermediate};
    }
    for (const auto& [name, shape] : shapes) {
      Random random(derive_seed(5, name));
      auto& own = values[name];
      own.resize(static_cast<std::size_t>(count_of(shape)));
      for (float& value : own) value = static_cast<float>((shape.size() == 1 ? 1.0 : 0.0) + 0.4 * random.normal());
    }
  }
  Json config() const {
    return {
        {"architectures", {"Qwen3ForCausalLM"}},
        {"model_type", "qwen3"},
        {"num_hidden_layers", kLayers},
        {"hidden_size", kHidden},
        {"num_attention_heads", kHeads},
        {"num_key_value_heads", kKvHeads},
        {"head_dim", kHeadDim},
        {"intermediate_size", kIntermediate},
        {"vocab_size", kVocabulary},
        {"max_position_embeddings", 128},
        {"rms_norm_eps", kEpsilon},
        {"rope_theta", kTheta},
        {"rope_scaling", {{"rope_type", "yarn"}, {"factor", kFactor}, {"original_max_position_embeddings", kOriginal}}},
        {"tie_word_embeddings", false},
        {"attention_bias", false},
        {"hidden_act", "silu"},
        {"sliding_window", nullptr},
        {"use_sliding_window", false},
        {"max_window_layers", 2},
        {"torch_dtype", "bfloat16"},
        {"transformers_version", "4.51.0"}};
  }

  // The formulae in FP64, plainly: logits [tokens][vocabulary].
  std::vector<std::vector<double>> logits(const std::vector<int>& ids) const {
    using Row = std::vector<double>;
    const auto times = [&](const std::string& name, const Row& x) {
      const auto& w = values.at(name);
      Row y(w.size() / x.size(), 0);
      for (std::size_t i = 0; i < w.size(); ++i) y[i / x.size()] += static_cast<double>(w[i]) * x[i % x.size()];
      return y;
    };
    const auto normed = [&](const std::string& name, const Row& x, std::size_t begin, std::size_t width) {
      double squares = 0;
      for (std::size_t i = 0; i < width; ++i) squares += x[begin + i] * x[begin + i];
      Row y;
      for (std::size_t i = 0; i < width; ++i) {
        y.push_back(x[begin + i] / std::sqrt(squares / static_cast<double>(width) + kEpsilon) *
                    static_cast<double>(values.at(name)[i]));
      }
      return y;
    };
    // Heads normed, then turned: (x, y) of the halves by the angle of the pair, YaRN's ramp between 32 turns and 1.
    const auto turned = [&](const std::string& name, const Row& x, int heads, double position) {
      Row result;
      const auto pair = [](double turns) {
        return kHeadDim * std::log(kOriginal / (turns * 2 * M_PI)) / (2 * std::log(kTheta));
      };
      const double low = std::max(0.0, std::floor(pair(32)));
      const double high = std::ceil(pair(1));
      for (int head = 0; head < heads; ++head) {
        const Row h = normed(name, x, static_cast<std::size_t>(head * kHeadDim), kHeadDim);
        Row out(kHeadDim);
        for (std::size_t i = 0; i < kHeadDim / 2; ++i) {
          const double plain = std::pow(kTheta, -2.0 * static_cast<double>(i) / kHeadDim);
          const double share = std::min(1.0, std::max(0.0, (static_cast<double>(i) - low) / (high - low)));
          const double angle = position * (plain * (1 - share) + plain / kFactor * share);
          const double magnitude = 0.1 * std::log(kFactor) + 1;
          const double a = h[i];
          const double b = h[i + kHeadDim / 2];
          out[i] = magnitude * (a * std::cos(angle) - b * std::sin(angle));
          out[i + kHeadDim / 2] = magnitude * (b * std::cos(angle) + a * std::sin(angle));
        }
        result.insert(result.end(), out.begin(), out.end());
      }
      return result;
    };
    std::vector<Row> x;
    for (const int id : ids) {
      Row row;
      for (int i = 0; i < kHidden; ++i) {
        row.push_back(
            static_cast<double>(values.at("model.embed_tokens.weight")[static_cast<std::size_t>(id * kHidden + i)]));
      }
      x.push_back(row);
    }
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string block = "model.layers." + std::to_string(layer) + ".";
      std::vector<Row> keys;
      std::vector<Row> values_of_rows;
      std::vector<Row> next;
      for (std::size_t t = 0; t < x.size(); ++t) {
        const auto position = static_cast<double>(t);
        const Row h = normed(block + "input_layernorm.weight", x[t], 0, kHidden);
        const Row q =
            turned(block + "self_attn.q_norm.weight", times(block + "self_attn.q_proj.weight", h), kHeads, position);
        keys.push_back(
            turned(block + "self_attn.k_norm.weight", times(block + "self_attn.k_proj.weight", h), kKvHeads, position));
        values_of_rows.push_back(times(block + "self_attn.v_proj.weight", h));
        Row attended;
        for (int head = 0; head < kHeads; ++head) {
          const auto kv = static_cast<std::size_t>(head / (kHeads / kKvHeads) * kHeadDim);
          Row p;
          double sum = 0;
          for (const Row& key : keys) {
            double dot = 0;
            for (std::size_t i = 0; i < kHeadDim; ++i) {
              dot += q[static_cast<std::size_t>(head * kHeadDim) + i] * key[kv + i];
            }
            p.push_back(std::exp(dot / std::sqrt(static_cast<double>(kHeadDim))));
            sum += p.back();
          }
          for (std::size_t i = 0; i < kHeadDim; ++i) {
            double value = 0;
            for (std::size_t other = 0; other < p.size(); ++other)
              value += p[other] / sum * values_of_rows[other][kv + i];
            attended.push_back(value);
          }
        }
        Row middle = times(block + "self_attn.o_proj.weight", attended);
        for (std::size_t i = 0; i < kHidden; ++i) middle[i] += x[t][i];
        const Row n = normed(block + "post_attention_layernorm.weight", middle, 0, kHidden);
        const Row gate = times(block + "mlp.gate_proj.weight", n);
        Row up = times(block + "mlp.up_proj.weight", n);
        for (std::size_t i = 0; i < kIntermediate; ++i) up[i] *= gate[i] / (1 + std::exp(-gate[i]));
        const Row down = times(block + "mlp.down_proj.weight", up);
        for (std::size_t i = 0; i < kHidden; ++i) middle[i] += down[i];
        next.push_back(middle);
      }
      x = next;
    }
    std::vector<Row> result;
    for (const Row& row : x) result.push_back(times("lm_head.weight", normed("model.norm.weight", row, 0, kHidden)));
    return result;
  }
};

class HuggingFaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        std::filesystem::temp_directory_path() / ("retort_hf_" + std::to_string(::getpid()) + "_" +
                                                  ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Values in the stored type; those that the type can't hold are cut to it first.
  void write_weights(const std::string& file, Qwen3& model, StoredType type,
                     const std::function<bool(const std::string&)>& chosen) {
    SafetensorsWriter writer(std::map<std::string, std::string>{{"format", "pt"}});
    std::vector<std::byte> bytes;
    for (auto& [name, shape] : model.shapes) {
      if (!chosen(name)) continue;
      writer.add(name, type, shape, [&, name = name]() -> Result<std::span<const std::byte>> {
        bytes.clear();
        for (float& value : model.values.at(name)) {
          char raw[4];
          std::memcpy(raw, &value, 4);
          if (type == StoredType::kBF16) raw[0] = raw[1] = 0;
          std::memcpy(&value, raw, 4);
          const auto* begin = reinterpret_cast<const std::byte*>(raw) + (type == StoredType::kBF16 ? 2 : 0);
          bytes.insert(bytes.end(), begin, begin + size_bytes(type));
        }
        return std::span<const std::byte>(bytes);
      });
    }
    ASSERT_TRUE(writer.write(folder_ / file));
  }
  void write_config(const Json& json) { ASSERT_TRUE(write_file(folder_ / "config.json", json.dump())); }
  std::string refusal() {
    const auto folder = HuggingFaceFolder::open(folder_);
    if (folder) return "accepted";
    EXPECT_EQ(folder.error().fault, Fault::kCaller);
    return folder.error().message;
  }
  void expect_formulae(const Qwen3& model) {
    const auto folder = HuggingFaceFolder::open(folder_);
    ASSERT_TRUE(folder) << folder.error().message;
    const auto decoder = Decoder::from_hugging_face(*folder, ComputeType::kFloat32);
    ASSERT_TRUE(decoder) << decoder.error().message;
    const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 16, 0};
    const auto hidden = decoder->forward(single_document(ids)).squeeze(0);
    const auto logits = decoder->logits(hidden);
    const auto expected = model.logits({ids.begin(), ids.end()});
    for (std::size_t t = 0; t < ids.size(); ++t) {
      for (std::size_t v = 0; v < Qwen3::kVocabulary; ++v) {
        const auto got = logits[static_cast<std::int64_t>(t)][static_cast<std::int64_t>(v)].item<double>();
        EXPECT_NEAR(got, expected[t][v], 2e-5 * (1 + std::fabs(expected[t][v])));
      }
    }
  }
  std::filesystem::path folder_;
};

bool all(const std::string&) { return true; }

TEST_F(HuggingFaceTest, ComputesWhatTheFolderMeans) {
  for (const StoredType type : {StoredType::kF32, StoredType::kBF16}) {
    Qwen3 model;
    write_config(model.config());
    write_weights("model.safetensors", model, type, all);
    expect_formulae(model);
  }
}

TEST_F(HuggingFaceTest, ReadsShards) {
  Qwen3 model;
  write_config(model.config());
  const auto first = [](const std::string& name) { return name.find(".0.") != std::string::npos; };
  write_weights("model-00001-of-00002.safetensors", model, StoredType::kF32, first);
  write_weights("model-00002-of-00002.safetensors", model, StoredType::kF32,
                [&](const std::string& name) { return !first(name); });
  Json map;
  for (const auto& [name, shape] : model.shapes) {
    map[name] = first(name) ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
  }
  const auto index = [&](const Json& weights) {
    ASSERT_TRUE(write_file(folder_ / "model.safetensors.index.json", Json({{"weight_map", weights}}).dump()));
  };
  index(map);
  expect_formulae(model);
  Json wrong = map;
  wrong["model.norm.weight"] = "model-00001-of-00002.safetensors";
  index(wrong);
  EXPECT_THAT(refusal(), HasSubstr("'model.norm.weight'"));
  wrong = map;
  wrong["model.norm.weight"] = "../model.safetensors";
  index(wrong);
  EXPECT_THAT(refusal(), HasSubstr("isn't the name of a file"));
  index(map);
  std::filesystem::remove(folder_ / "model-00001-of-00002.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("model-00001-of-00002"));
}

TEST_F(HuggingFaceTest, EveryKeyAndTensorIsConsumedOrRefused) {
  Qwen3 model;
  write_weights("model.safetensors", model, StoredType::kF32, all);
  const auto with = [&](const std::string& key, const Json& value) {
    Json json = model.config();
    json[key] = value;
    write_config(json);
    return refusal();
  };
  EXPECT_EQ(with("use_cache", true), "accepted");
  EXPECT_THAT(with("final_logit_softcapping", 30.0), HasSubstr("'final_logit_softcapping'"));
  EXPECT_THAT(with("quantization_config", Json::object()), HasSubstr("'quantization_config'"));
  EXPECT_THAT(with("model_type", "gemma3"), HasSubstr("'gemma3' isn't supported"));
  EXPECT_THAT(with("architectures", {"Qwen3ForSequenceClassification"}), HasSubstr("'architectures'"));
  EXPECT_THAT(with("hidden_act", "gelu"), HasSubstr("'hidden_act'"));
  EXPECT_THAT(with("attention_bias", true), HasSubstr("'attention_bias'"));
  EXPECT_THAT(with("num_key_value_heads", 3), HasSubstr("divide"));
  EXPECT_THAT(with("intermediate_size", 11), HasSubstr("mlp.gate_proj.weight' has the shape"));
  EXPECT_THAT(with("num_hidden_layers", 1), HasSubstr("model.layers.1"));
  EXPECT_THAT(with("num_hidden_layers", 3), HasSubstr("model.layers.2.input_layernorm.weight' is missing"));
  EXPECT_THAT(with("tie_word_embeddings", true), HasSubstr("ties the head"));
  EXPECT_THAT(with("layer_types", {"full_attention", "sliding_attention"}), HasSubstr("'layer_types'"));
  EXPECT_EQ(with("layer_types", {"full_attention", "full_attention"}), "accepted");
  EXPECT_THAT(with("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}), HasSubstr("'dynamic'"));
  EXPECT_THAT(with("rope_scaling", {{"type", "yarn"}, {"factor", 2.0}, {"beta_fast", 16}}), HasSubstr("'beta_fast'"));
  EXPECT_THAT(with("rope_scaling", {{"type", "yarn"}, {"factor", 2.0}, {"mscale", 1.0}}), HasSubstr("'mscale'"));
  // transformers 5.
  Json json = model.config();
  json["rope_scaling"] = nullptr;
  json.erase("rope_theta");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  write_config(json);
  EXPECT_EQ(HuggingFaceFolder::open(folder_)->config().rope_theta, 5e5);
}

TEST_F(HuggingFaceTest, WindowsAndScalingOfTheFamilies) {
  const Json base = {{"model_type", "llama"},         {"num_hidden_layers", 2},  {"hidden_size", 64},
                     {"num_attention_heads", 4},      {"intermediate_size", 32}, {"vocab_size", 50},
                     {"max_position_embeddings", 64}, {"rms_norm_eps", 1e-5}};
  const auto with = [&](const Json& more) {
    Json json = base;
    json.update(more);
    return config_from_hugging_face(json, "c");
  };
  EXPECT_EQ(with({{"model_type", "mistral"}, {"sliding_window", 16}})->window, 16);
  EXPECT_EQ(with({{"model_type", "mistral"}, {"sliding_window", 16}})->architecture, "llama");
  EXPECT_EQ(with({{"model_type", "mistral"}, {"sliding_window", nullptr}})->window, 0);
  EXPECT_FALSE(with({{"sliding_window", 16}}));
  EXPECT_EQ(with({{"model_type", "qwen2"}, {"sliding_window", 16}})->window, 0);
  const Json used = {{"model_type", "qwen2"}, {"sliding_window", 16}, {"use_sliding_window", true}};
  EXPECT_EQ(with(used)->window, 0);  // from layer 2 on: nowhere
  Json everywhere = used;
  everywhere["max_window_layers"] = 0;
  EXPECT_EQ(with(everywhere)->window, 16);
  everywhere["max_window_layers"] = 1;
  EXPECT_FALSE(with(everywhere));
  EXPECT_EQ(with({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}})->rope_scale, 2);
  const auto llama3 = with({{"rope_theta", 5e5},
                            {"rope_scaling",
                             {{"rope_type", "llama3"},
                              {"factor", 32.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}}}});
  ASSERT_TRUE(llama3) << llama3.error().message;
  // Of head_dim 16: wavelengths 6, 32, …, 2048 = 8192 / 4 lie below, 3e5 > 8192 above; by hand.
  ASSERT_EQ(llama3->rope_factors.size(), 8U);
  EXPECT_EQ(llama3->rope_factors[0], 1.0F);
  EXPECT_EQ(llama3->rope_factors[7], 32.0F);
  const double wavelength = 2 * M_PI * std::pow(5e5, 0.5);
  const double smooth = (8192 / wavelength - 1) / 3;
  EXPECT_NEAR(llama3->rope_factors[4], 1 / ((1 - smooth) / 32 + smooth), 1e-4);
}

TEST_F(HuggingFaceTest, WhatIsWrittenReadsBackBitForBit) {
  DecoderConfig plain;
  plain.layers = 2;
  plain.hidden = 16;
  plain.heads = 4;
  plain.kv_heads = 2;
  plain.head_dim = 8;
  plain.intermediate = 12;
  plain.vocabulary = 20;
  plain.context = 64;
  plain.rms_epsilon = static_cast<double>(1e-6F);
  plain.source_layers = {0, 1};
  const auto with = [&](const std::function<void(DecoderConfig&)>& change) {
    DecoderConfig config = plain;
    change(config);
    return config;
  };
  const std::vector<DecoderConfig> configs = {
      plain,
      with([](auto& c) { c.tied_head = false; }),
      with([](auto& c) { c.window = 8; }),
      with([](auto& c) {
        c.architecture = "qwen2";
        c.qkv_bias = true;
        c.window = 8;
      }),
      with([](auto& c) {
        c.architecture = "qwen3";
        c.qk_norm = true;
        c.rope_scale = 2;
        c.yarn_context = 32;
        c.rope_magnitude = yarn_magnitude(2);
      }),
      with([](auto& c) { c.rope_scale = 3; }),
      with([](auto& c) {
        c.rope_theta = 5e5;
        const double smooth = (8192 / (2 * M_PI * std::sqrt(5e5)) - 1) / 3;
        c.rope_factors = {1, 1, static_cast<float>(1 / ((1 - smooth) / 32 + smooth)), 32};
      })};
  for (const auto& config : configs) {
    SCOPED_TRACE(to_json(config).dump());
    Values values;
    for (const auto& name : tensor_names(config)) {
      Random random(derive_seed(2, name));
      auto& own = values[name];
      own.resize(static_cast<std::size_t>(count_of(tensor_shape(config, name))));
      for (float& value : own) value = static_cast<float>(random.normal());
    }
    const auto written =
        write_hugging_face(folder_ / "out", config, {{"retort", {{"tokenizer", "abc"}}}},
                           [&](const std::string& name) -> Result<std::vector<float>> { return values.at(name); });
    ASSERT_TRUE(written) << written.error().message;
    const auto folder = HuggingFaceFolder::open(folder_ / "out");
    ASSERT_TRUE(folder) << folder.error().message;
    EXPECT_EQ(folder->config(), config) << to_json(folder->config()).dump();
    EXPECT_EQ(folder->note().at("tokenizer"), "abc");
    for (const auto& name : tensor_names(config)) EXPECT_EQ(folder->values(name).value(), values.at(name)) << name;
  }
  DecoderConfig odd = plain;
  odd.rope_factors = {1, 2, 3, 4};
  EXPECT_THAT(config_to_hugging_face(odd).error().message, HasSubstr("aren't Llama 3's"));
  // An error of the values is the writer's, and leaves no folder that looks whole.
  const auto failed =
      write_hugging_face(folder_ / "none", plain, Json::object(),
                         [](const std::string&) -> Result<std::vector<float>> { return world_error("gone"); });
  EXPECT_EQ(failed.error().message, "gone");
  EXPECT_FALSE(is_hugging_face_folder(folder_ / "none"));
}

}  // namespace
}  // namespace retort::model
