// docs/RECIPE.md, the shipped recipes and the example of docs/formats/recipe.md against the schema of this program.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/files.h"
#include "pipeline/run_options.h"
#include "recipe/recipe.h"

namespace retort::pipeline {
namespace {

const std::filesystem::path kSource = RETORT_SOURCE_DIR;

constexpr const char* kIntroduction =
    "# Recipe reference\n\n"
    "A recipe is a YAML file that says what a run is to do. It is checked whole before anything starts; all its "
    "problems\nare told at once. `--set KEY=VALUE` overrides a key on the command line; `retort help KEY` says what "
    "stands here.\n\n"
    "This page is generated from the declarations in the source; a test fails when it is stale. The grammar is in\n"
    "[formats/recipe.md](formats/recipe.md).\n";

// RETORT_WRITE_PAGES=1 writes the page instead of comparing.
TEST(RecipePage, IsWhatTheDeclarationsSay) {
  const std::string page = recipe_schema()->reference_page(kIntroduction);
  const std::filesystem::path path = kSource / "docs" / "RECIPE.md";
  if (std::getenv("RETORT_WRITE_PAGES") != nullptr) {
    ASSERT_TRUE(write_file(path, page));
  }
  const auto written = read_file(path);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(*written, page) << "docs/RECIPE.md is stale: run this test with RETORT_WRITE_PAGES=1 and commit the page.";
}

TEST(RecipePage, EveryOptionHasItsHelp) {
  for (const recipe::Option& option : recipe_schema()->options()) EXPECT_FALSE(option.text.help.empty()) << option.key;
  for (const recipe::Schema::Section& section : recipe_schema()->sections()) {
    EXPECT_FALSE(section.help.empty()) << section.prefix;
  }
}

TEST(RecipePage, ShippedRecipesAreAccepted) {
  int recipes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kSource / "recipes")) {
    if (entry.path().extension() != ".yaml") continue;
    ++recipes;
    const auto accepted = recipe::Recipe::load(entry.path(), recipe_schema());
    EXPECT_TRUE(accepted) << accepted.error().message;
  }
  EXPECT_GT(recipes, 0);
}

TEST(RecipePage, TheExampleOfTheFormatsPageIsAccepted) {
  const std::string page = read_file(kSource / "docs" / "formats" / "recipe.md").value();
  const std::string fence = "```yaml\n";
  const std::size_t begin = page.find(fence) + fence.size();
  const std::string yaml = page.substr(begin, page.find("\n```", begin) - begin);
  const auto accepted = recipe::Recipe::parse(yaml, "docs/formats/recipe.md", recipe_schema());
  EXPECT_TRUE(accepted) << accepted.error().message;
}

}  // namespace
}  // namespace retort::pipeline
