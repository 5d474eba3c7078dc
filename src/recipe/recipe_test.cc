#include "recipe/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "recipe/choices.h"
#include "recipe/map_shape.h"

namespace retort::recipe {

// A word or a map, as a module may shape an option of its own.
struct PromptsOption {
  std::string file;  // empty: self_generated
  std::string format = "auto";
  bool operator==(const PromptsOption&) const = default;
};

template <>
struct Codec<PromptsOption> {
  static const MapShape<PromptsOption>& shape() {
    static const auto shape = MapShape<PromptsOption>()
                                  .add("file", &PromptsOption::file, {.required = true})
                                  .add("format", &PromptsOption::format, {.choices = {"auto", "jsonl", "lines"}});
    return shape;
  }
  static std::string type_name(const OptionText&) { return "self_generated, or " + shape().type_name(); }
  static Parsed<PromptsOption> parse(const Node& node, const OptionText&) {
    if (node.kind == Node::Kind::kText && node.text == "self_generated") return PromptsOption{};
    return shape().parse(node);
  }
  static Node write(const PromptsOption& value) {
    if (value.file.empty()) return Node::of(std::string("self_generated"));
    return Node::map({{"file", Node::of(value.file), 0}, {"format", Node::of(value.format), 0}});
  }
};

namespace {

using testing::HasSubstr;
using testing::Not;

struct RunOptions {
  std::string name = "unnamed";
  std::string teacher;
};

struct CollectOptions {
  PromptsOption prompts;
  std::int64_t count = 100;
  std::int32_t max_tokens = 160;
};

struct StudentOptions {
  CountOrList layers{std::int64_t{20}};
};

struct TrainOptions {
  std::string objective = "forward_kl";
  std::int64_t epochs = 2;
  double learning_rate = 6e-4;
  std::int64_t warmup = 10;
  std::int64_t max_length = 256;
  bool shuffle = true;
  std::optional<std::int64_t> limit;
  std::uint64_t seed = 1;
};

OptionSet<RunOptions> run_set() {
  OptionSet<RunOptions> set("");
  set.add("name", &RunOptions::name, {.help = "Name of the run.", .not_empty = true});
  set.add("teacher", &RunOptions::teacher, {.help = "Path or alias of the teacher.", .required = true});
  return set;
}

OptionSet<CollectOptions> collect_set() {
  return OptionSet<CollectOptions>("collect", "How exchanges are gathered.")
      .add("prompts", &CollectOptions::prompts, {})
      .add("count", &CollectOptions::count, {.unit = "exchanges", .help = "How many.", .minimum = 1})
      .add("max_tokens", &CollectOptions::max_tokens, {.unit = "tokens", .minimum = 1, .maximum = 100000});
}

OptionSet<StudentOptions> student_set() {
  return OptionSet<StudentOptions>("student").add("layers", &StudentOptions::layers, {.unit = "layers", .minimum = 1});
}

OptionSet<TrainOptions> train_set() {
  return OptionSet<TrainOptions>("train", "How the student is trained.")
      .add("objective", &TrainOptions::objective, {.choices = {"forward_kl", "cross_entropy"}})
      .add("epochs", &TrainOptions::epochs, {.help = "Passes over the data.", .minimum = 1, .maximum = 1000})
      .add("learning_rate", &TrainOptions::learning_rate, {.minimum = 0, .above_minimum = true})
      .add("warmup", &TrainOptions::warmup, {.unit = "steps", .minimum = 0})
      .add("max_length", &TrainOptions::max_length, {.unit = "tokens", .minimum = 2})
      .add("shuffle", &TrainOptions::shuffle, {})
      .add("limit", &TrainOptions::limit, {.minimum = 1})
      .add("seed", &TrainOptions::seed, {})
      .check([](const TrainOptions& options, Problems& problems) {
        if (options.warmup > 1000 * options.epochs) {
          problems.add("train.warmup", "is longer than the training; expected fewer steps");
        }
      });
}

std::shared_ptr<const Schema> schema() {
  auto made = std::make_shared<Schema>();
  made->add(run_set()).add(student_set()).add(collect_set()).add(train_set());
  made->check([](const Recipe& recipe, Problems& problems) {
    if (recipe.get(train_set()).max_length < recipe.get(collect_set()).max_tokens) {
      problems.add("train.max_length", "is shorter than collect.max_tokens; expected at least as many");
    }
  });
  return made;
}

Result<Recipe> parse(std::string_view yaml, std::vector<std::string> overrides = {}) {
  return Recipe::parse(yaml, "test.yaml", schema(), overrides);
}

std::string error_of(std::string_view yaml, std::vector<std::string> overrides = {}) {
  const auto recipe = parse(yaml, std::move(overrides));
  if (recipe) return "accepted";
  EXPECT_EQ(recipe.error().fault, Fault::kCaller);
  return recipe.error().message;
}

TEST(Recipe, GivesWhatWasSaidAndDefaultsForTheRest) {
  const auto recipe = parse(
      "name: quickstart\n"
      "teacher: smollm2\n"
      "student:\n  layers: [0, 1, 29]\n"
      "collect:\n  prompts: {file: p.jsonl, format: jsonl}\n"
      "train:\n  learning_rate: 5e-4\n  shuffle: false\n  limit: 7\n");
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ(recipe->get(run_set()).name, "quickstart");
  EXPECT_EQ(recipe->get(student_set()).layers.list(), (std::vector<std::int64_t>{0, 1, 29}));
  EXPECT_EQ(recipe->get(collect_set()).prompts, (PromptsOption{"p.jsonl", "jsonl"}));
  const TrainOptions train = recipe->get(train_set());
  EXPECT_DOUBLE_EQ(train.learning_rate, 5e-4);
  EXPECT_FALSE(train.shuffle);
  EXPECT_EQ(train.limit, 7);
  EXPECT_EQ(train.epochs, 2);
  EXPECT_TRUE(recipe->is_set("train.limit"));
  EXPECT_FALSE(recipe->is_set("train.epochs"));
}

TEST(Recipe, TellsAllProblemsAtOnceWithTheirLines) {
  const std::string error = error_of(
      "name: x\n"
      "collect:\n"
      "  count: \"3\"\n"
      "  max_tokens: 0\n"
      "train:\n"
      "  epoch: 3\n"
      "  objective: forward_lk\n"
      "  shuffle: yes\n"
      "evaluat: 3\n");
  EXPECT_EQ(error,
            "The recipe test.yaml has 7 problems; nothing was started.\n"
            "  line 3: collect.count is the text \"3\"; expected a whole number of at least 1 (exchanges).\n"
            "  line 4: collect.max_tokens is the number 0; expected a whole number from 1 to 100000 (tokens).\n"
            "  line 6: train.epoch is not an option; did you mean train.epochs?\n"
            "  line 7: train.objective is the text \"forward_lk\"; expected one of: forward_kl, cross_entropy; did you "
            "mean forward_kl?\n"
            "  line 8: train.shuffle is the text \"yes\"; expected true or false.\n"
            "  line 9: evaluat is not an option; `retort help recipe` lists all of them.\n"
            "  teacher is missing; expected a text (Path or alias of the teacher.).");
}

TEST(Recipe, NamesTheNearestKey) {
  EXPECT_THAT(error_of("teacher: t\ntrian:\n  epochs: 2\n"),
              HasSubstr("line 2: trian is not an option; did you mean train?"));
  EXPECT_THAT(error_of("teacher: t\nepochs: 2\n"), HasSubstr("did you mean train.epochs?"));
  EXPECT_THAT(error_of("teacher: t\ntrain:\n  count: 2\n"), HasSubstr("did you mean collect.count?"));
  EXPECT_THAT(error_of("teacher: t\ntrain:\n  learning_rte: 2\n"), HasSubstr("did you mean train.learning_rate?"));
  EXPECT_THAT(error_of("teachr: t\n"), HasSubstr("did you mean teacher?"));
}

TEST(Recipe, RefusesWhatIsNoRecipe) {
  EXPECT_THAT(error_of("- a\n- b\n"), HasSubstr("is a list of 2 values; expected keys and values"));
  EXPECT_THAT(error_of("just text"), HasSubstr("is the text \"just text\""));
  EXPECT_THAT(error_of("a: [1\nb: 2"), HasSubstr("is not valid YAML at line"));
  EXPECT_THAT(error_of("a: 1\n---\nb: 2\n"), HasSubstr("more than one YAML document"));
  EXPECT_THAT(error_of("train: 3\nteacher: t\n"),
              HasSubstr("line 1: train is the number 3; expected a section with options such as train.objective"));
  EXPECT_THAT(error_of("teacher: a\nteacher: b\n"), HasSubstr("line 2: teacher is written a second time"));
  EXPECT_THAT(error_of("? [a]\n: 1\nteacher: t\n"), HasSubstr("a key that is not a single word"));
  EXPECT_THAT(error_of(std::string("teacher: a\0b", 12)), HasSubstr("zero byte"));
  EXPECT_THAT(error_of(std::string(1'000'001, ' ')), HasSubstr("larger than 1 MB"));
}

TEST(Recipe, SurvivesHostileYaml) {
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int k = 0; k < 9; ++k) laughs += ", " + last;
    laughs += "]\n";
  }
  EXPECT_THAT(error_of(laughs), HasSubstr("more than 20000 values"));
  EXPECT_THAT(error_of("a: &a [*a]\n"), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of("a: " + std::string(40, '[') + std::string(40, ']')), HasSubstr("nested deeper"));
  EXPECT_NE(error_of(std::string(100000, '[')), "accepted");
  EXPECT_NE(error_of("\xff\xfe\x01"), "accepted");
  EXPECT_NE(error_of(",teacher: t\n"), "accepted");
}

// Whatever stands in the file, the answer is a recipe or a sentence.
TEST(Recipe, SurvivesRandomDamage) {
  const std::string good =
      "name: &a x\nteacher: \"t\"\nstudent: {layers: [0, 1, 29]}\ncollect:\n  prompts:\n    file: |\n      a\n"
      "train:\n  learning_rate: 5e-4 # c\n  limit: ~\n";
  const std::string alphabet = "{}[]:,&*!|>'\"%@`#-?\n \t\\~0.9eax\xff\xc3";
  Random random(11);
  for (int i = 0; i < 3000; ++i) {
    std::string text = good;
    for (std::uint64_t edits = 1 + random.below(6); edits > 0; --edits) {
      const std::size_t at = random.below(text.size());
      const char byte = alphabet[random.below(alphabet.size())];
      switch (random.below(4)) {
        case 0: text[at] = byte; break;
        case 1: text.insert(at, 1, byte); break;
        case 2: text.erase(at, 1 + random.below(4)); break;
        default: text.insert(at, text.substr(random.below(text.size()), random.below(20))); break;
      }
      if (text.empty()) text = "x";
    }
    const auto recipe = parse(text);
    if (recipe) {
      EXPECT_TRUE(parse(recipe->effective_yaml())) << text;
    } else {
      EXPECT_EQ(recipe.error().fault, Fault::kCaller);
      EXPECT_FALSE(recipe.error().message.empty());
    }
  }
}

TEST(Recipe, OverridesAreTypedTheSameWay) {
  const auto recipe = parse("teacher: t\ntrain:\n  epochs: 2\n",
                            {"train.epochs=3", "train.epochs=4", "student.layers=[0, 5]", "collect.prompts.file=a.txt",
                             "train.learning_rate=1e-3", "name=other"});
  ASSERT_TRUE(recipe) << recipe.error().message;
  EXPECT_EQ(recipe->get(train_set()).epochs, 4);
  EXPECT_DOUBLE_EQ(recipe->get(train_set()).learning_rate, 1e-3);
  EXPECT_EQ(recipe->get(student_set()).layers.list(), (std::vector<std::int64_t>{0, 5}));
  EXPECT_EQ(recipe->get(collect_set()).prompts.file, "a.txt");
  EXPECT_EQ(recipe->get(run_set()).name, "other");

  EXPECT_THAT(error_of("teacher: t\n", {"train.epochs=two"}),
              HasSubstr("\n  --set train.epochs: is the text \"two\"; expected a whole number from 1 to 1000."));
  EXPECT_THAT(error_of("teacher: t\n", {"train.epoch=2"}),
              HasSubstr("--set train.epoch: is not an option; did you mean train.epochs?"));
  EXPECT_THAT(error_of("teacher: t\n", {"train.epochs"}), HasSubstr("--set train.epochs: is not an override"));
  EXPECT_THAT(error_of("teacher: t\n", {"train.epochs=[1"}), HasSubstr("--set train.epochs: is not valid YAML"));
  // An override can mend what the file says wrongly, and replace a word by a file.
  EXPECT_TRUE(parse("teacher: t\ncollect:\n  prompts: self_generated\n", {"collect.prompts.file=a"}));
  EXPECT_TRUE(parse("teacher: t\ntrain:\n  epochs: x\n", {"train.epochs=1"}));
}

TEST(Recipe, RefusesImpossibleCombinations) {
  EXPECT_THAT(error_of("teacher: t\ntrain:\n  epochs: 1\n  warmup: 5000\n"),
              HasSubstr("line 4: train.warmup is longer than the training; expected fewer steps."));
  EXPECT_THAT(error_of("teacher: t\ntrain:\n  max_length: 100\n"),
              HasSubstr("line 3: train.max_length is shorter than collect.max_tokens"));
  // A set's rule still speaks when another set has a problem, but never about a value that is itself wrong.
  EXPECT_THAT(error_of("train:\n  epochs: 1\n  warmup: 5000\n"), HasSubstr("train.warmup is longer"));
  EXPECT_THAT(error_of("train:\n  epochs: 0\n  warmup: 5000\n"), Not(HasSubstr("train.warmup")));
}

TEST(Recipe, EffectiveYamlParsesToTheSame) {
  const auto recipe = parse("teacher: \"a: b\"\ncollect:\n  prompts: {file: 'x y.txt'}\n", {"student.layers=[1, 2]"});
  ASSERT_TRUE(recipe) << recipe.error().message;
  const std::string yaml = recipe->effective_yaml();
  EXPECT_EQ(yaml,
            "name: unnamed\n"
            "teacher: \"a: b\"\n"
            "student:\n"
            "  layers: [1, 2]\n"
            "collect:\n"
            "  prompts: {file: \"x y.txt\", format: auto}\n"
            "  count: 100\n"
            "  max_tokens: 160\n"
            "train:\n"
            "  objective: forward_kl\n"
            "  epochs: 2\n"
            "  learning_rate: 0.0006\n"
            "  warmup: 10\n"
            "  max_length: 256\n"
            "  shuffle: true\n"
            "  limit: null\n"
            "  seed: 1\n");
  for (const std::string& text : {yaml, recipe->effective_yaml(true)}) {
    const auto again = parse(text);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->effective_yaml(), yaml);
    EXPECT_EQ(again->digest(), recipe->digest());
  }
  EXPECT_THAT(recipe->effective_yaml(true), HasSubstr("count: 100  # exchanges, default\n"));
}

TEST(Recipe, DigestsChangeWithTheirOptionsOnly) {
  const auto base = parse("teacher: t\n");
  const auto spelt_out = parse("train:\n  epochs: 2\nteacher: 't'\n");
  const auto changed = parse("teacher: t\ntrain:\n  epochs: 3\n");
  ASSERT_TRUE(base && spelt_out && changed);
  const std::vector<std::string> collect = {"teacher", "collect"};
  const std::vector<std::string> train = {"train"};
  const std::vector<std::string> rate = {"train.learning_rate"};
  EXPECT_EQ(base->digest(), spelt_out->digest());
  EXPECT_EQ(base->digest_of(collect), changed->digest_of(collect));
  EXPECT_EQ(base->digest_of(rate), changed->digest_of(rate));
  EXPECT_NE(base->digest_of(train), changed->digest_of(train));
  EXPECT_NE(base->digest(), changed->digest());
  // An integer given for a number is that number.
  const auto one = parse("teacher: t\ntrain:\n  learning_rate: 1\n");
  const auto one_point = parse("teacher: t\ntrain:\n  learning_rate: 1.0\n");
  ASSERT_TRUE(one && one_point);
  EXPECT_EQ(one->digest(), one_point->digest());
}

TEST(Schema, DescribesOptionsAndSections) {
  const auto known = schema();
  EXPECT_EQ(known->describe("train.epochs").value(),
            "train.epochs\n  whole number from 1 to 1000\n  default: 2\n\n  Passes over the data.\n");
  EXPECT_THAT(known->describe("teacher").value(), HasSubstr("default: none: it must be given"));
  EXPECT_THAT(known->describe("collect.count").value(), HasSubstr("whole number of at least 1, in exchanges"));
  EXPECT_THAT(known->describe("train").value(), HasSubstr("  train.learning_rate  0.0006\n"));
  const std::string all = known->describe("recipe").value();
  for (const std::string& key : known->keys()) EXPECT_THAT(all, HasSubstr("  " + key + " "));
  const auto unknown = known->describe("train.epoch");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("Did you mean 'train.epochs'?"));
}

TEST(Schema, ReferencePageHasEveryKeyAndIsStable) {
  const std::string page = schema()->reference_page("# Page\n");
  for (const std::string& key : schema()->keys()) EXPECT_THAT(page, HasSubstr("| `" + key + "` |"));
  EXPECT_EQ(page, schema()->reference_page("# Page\n"));
  EXPECT_THAT(page, HasSubstr("self_generated, or {file: text, format: one of: auto, jsonl, lines}"));
}

TEST(OptionSet, MapsAKeyToSeveralMembers) {
  struct Source {
    std::string file;
    std::string format = "auto";
  };
  const auto set = OptionSet<Source>("collect").add_mapped<PromptsOption>(
      "prompts",
      [](const Source& source) {
        return PromptsOption{source.file, source.format};
      },
      [](Source& source, const PromptsOption& value) {
        source.file = value.file;
        source.format = value.format;
      },
      {});
  auto one = std::make_shared<Schema>();
  one->add(set);
  EXPECT_EQ(Recipe::parse("", "r", one)->get(set).file, "");
  const Source source = Recipe::parse("collect: {prompts: {file: a, format: lines}}", "r", one)->get(set);
  EXPECT_EQ(source.file, "a");
  EXPECT_EQ(source.format, "lines");
  EXPECT_EQ(Recipe::parse("", "r", one)->effective_yaml(), "collect:\n  prompts: self_generated\n");
}

TEST(OptionSetDeathTest, RefusesAKeyDeclaredTwiceAndAnUnfitDefault) {
  EXPECT_DEATH(OptionSet<TrainOptions>("t").add("a", &TrainOptions::epochs, {}).add("a", &TrainOptions::warmup, {}),
               "must hold");
  EXPECT_DEATH(OptionSet<TrainOptions>("t").add("a", &TrainOptions::epochs, {.minimum = 3}), "must hold");
}

}  // namespace
}  // namespace retort::recipe
