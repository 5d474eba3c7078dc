#include "model/backend.h"

#include <gtest/gtest.h>

namespace retort::model {
namespace {

TEST(Backend, GivesEachRankADeviceOfItsOwn) {
  EXPECT_EQ(device_of_rank(nullptr, 2), "2");
  EXPECT_EQ(device_of_rank("4,5,GPU-6a,7", 0), "4");
  EXPECT_EQ(device_of_rank("4,5,GPU-6a,7", 2), "GPU-6a");
  EXPECT_EQ(device_of_rank("4,5,GPU-6a,7", 3), "7");
  EXPECT_EQ(device_of_rank("4,5", 2), "");  // no device left
  EXPECT_EQ(device_of_rank("5", 1), "5");   // chosen for it
  EXPECT_EQ(device_of_rank("", 1), "");     // none wanted
}

}  // namespace
}  // namespace retort::model
