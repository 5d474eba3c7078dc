#include "retort/rank_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace retort::app {
namespace {

using testing::HasSubstr;

Result<train::RankPlace> place_of(const std::map<std::string, std::string>& variables) {
  return rank_place([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

void expect_place(const std::map<std::string, std::string>& variables, int rank, int world, int local_world,
                  const std::string& address, int port) {
  const auto place = place_of(variables);
  ASSERT_TRUE(place) << place.error().message;
  EXPECT_EQ(place->rank, rank);
  EXPECT_EQ(place->world, world);
  EXPECT_EQ(place->local_world, local_world);
  EXPECT_EQ(place->address, address);
  EXPECT_EQ(place->port, port);
}

TEST(RankEnvironment, KnowsThoseWhoStartManyProcesses) {
  expect_place({}, 0, 1, 1, "", 0);
  expect_place(
      {{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "7"}}, 3, 4,
      2, "a", 7);
  expect_place({{"SLURM_PROCID", "1"},
                {"SLURM_NTASKS", "8"},
                {"SLURM_NTASKS_PER_NODE", "4"},
                {"SLURM_JOB_NODELIST", "gpu[03-07,12],cpu1"},
                {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"},
                {"SLURM_JOB_ID", "41234"}},
               1, 8, 4, "gpu03", 21234);
  expect_place({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_JOB_NODELIST", "a1,a2"}, {"MASTER_PORT", "9"}}, 0,
               2, 1, "a1", 9);
  expect_place({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}, {"SLURM_LAUNCH_NODE_IPADDR", "10.0.0.1"}}, 0, 2, 1,
               "10.0.0.1", 20000);
  expect_place({{"SLURM_NTASKS", "2"}}, 0, 1, 1, "", 0);  // the batch script itself
  expect_place({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}, 1,
               2, 2, "127.0.0.1", 29500);
  expect_place({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MASTER_ADDR", "b"}}, 1, 2, 1, "b", 29500);
  EXPECT_TRUE(
      place_of({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"TORCHELASTIC_USE_AGENT_STORE", "True"}})
          ->meeting_is_hosted);
}

TEST(RankEnvironment, KnowsThePlaceOnTheMachine) {
  const auto local_rank = [](std::map<std::string, std::string> variables) {
    variables.insert({"MASTER_ADDR", "a"});
    return place_of(variables)->local_rank;
  };
  EXPECT_EQ(local_rank({{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"}}), 1);
  EXPECT_EQ(local_rank({{"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_WORLD_SIZE", "4"}}), 1);
  EXPECT_EQ(local_rank({{"SLURM_PROCID", "5"}, {"SLURM_NTASKS", "6"}, {"SLURM_LOCALID", "2"}}), 2);
  EXPECT_EQ(local_rank({{"OMPI_COMM_WORLD_RANK", "3"},
                        {"OMPI_COMM_WORLD_SIZE", "4"},
                        {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                        {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}}),
            1);
  EXPECT_EQ(local_rank({{"PMI_RANK", "3"}, {"PMI_SIZE", "4"}}), 0);  // alone there, as far as is known
}

TEST(RankEnvironment, SaysWhatIsWrong) {
  const auto expect_sentence = [](const std::map<std::string, std::string>& variables, const std::string& part) {
    const auto place = place_of(variables);
    ASSERT_FALSE(place);
    EXPECT_EQ(place.error().fault, Fault::kCaller);
    EXPECT_THAT(place.error().message, HasSubstr(part));
  };
  expect_sentence({{"RANK", "x"}, {"WORLD_SIZE", "2"}}, "RANK is 'x'");
  expect_sentence({{"RANK", "1"}}, "only one is set");
  expect_sentence({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}},
                  "MASTER_ADDR");
  expect_sentence({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}}, "65535");
}

}  // namespace
}  // namespace retort::app
