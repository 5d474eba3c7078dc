#include "api/multipart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::api {
namespace {

using ::testing::HasSubstr;

constexpr const char* kType = "multipart/form-data; boundary=xYz";
const std::string kPurpose = "--xYz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n";
const std::string kFile =
    "--xYz\r\ncontent-disposition: form-data; name=file; filename=\"a b.jsonl\"\r\nContent-Type: "
    "application/jsonl\r\n\r\n{\"a\": 1}\r\n{}\n\r\n";

TEST(Multipart, GivesPartsWithTheirBytes) {
  for (const char* end : {"--xYz--\r\n", "--xYz--"}) {
    const std::string body = kPurpose + kFile + end;
    const auto parts = read_form(kType, body);
    ASSERT_TRUE(parts) << parts.error().message;
    ASSERT_EQ(parts->size(), 2U);
    EXPECT_EQ((*parts)[0].name, "purpose");
    EXPECT_EQ((*parts)[0].content, "batch");
    EXPECT_FALSE((*parts)[0].file);
    EXPECT_EQ((*parts)[1].name, "file");
    EXPECT_EQ((*parts)[1].content, "{\"a\": 1}\r\n{}\n") << "the last line break is the boundary's";
    EXPECT_TRUE((*parts)[1].file);
  }
  EXPECT_TRUE(read_form("Multipart/Form-Data; Boundary=\"xYz\"", kPurpose + "--xYz--"));
}

TEST(Multipart, RefusesWhatCouldBeReadInTwoWays) {
  const std::string end = "--xYz--\r\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"preamble\r\n" + kPurpose + end, "begin with its boundary"},
      {kPurpose + end + "epilogue", "goes on"},
      {kPurpose + kFile, "no end"},
      {kPurpose + kPurpose + end, "twice"},
      {kPurpose + "--xYz\r\nContent-Disposition: form-data; name=file\r\n\r\n{}\n--xYz\r\n\r\n" + end, "within a part"},
      {kPurpose + "--xYz\r\nContent-Disposition: form-data; name=file\r\n\r\n{}\r\n--xYzz\r\n" + end, "goes on"},
      {"--xYz\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n\r\n" + end, "twice"},
      {"--xYz\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\n\r\n" + end, "backslash"},
      {"--xYz\r\nContent-Disposition: form-data; name*=utf-8''a; name=b\r\n\r\n\r\n" + end, "several"},
      {"--xYz\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n" + end,
       "several"},
      {"--xYz\r\nContent-Type: text/plain\r\n\r\n\r\n" + end, "no name"},
      {"--xYz\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n\r\n" + end, "several"},
      {"--xYz\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n" + end,
       "encoded"},
      {"--xYz\r\nContent-Disposition: form-data; name=a\r\nContent-Type: Multipart/mixed; boundary=q\r\n\r\n\r\n" + end,
       "form of its own"},
      {"--xYz\r\nContent-Disposition: form-data; name=a; name*0=b\r\n\r\n\r\n" + end, "several"},
      {"--xYz\r\nContent-Disposition: form-data; name=_charset_\r\n\r\nutf-7\r\n" + end, "encoding"},
  };
  for (const auto& [body, part] : cases) {
    const auto refused = read_form(kType, body);
    ASSERT_FALSE(refused) << body;
    EXPECT_THAT(refused.error().message, HasSubstr(part)) << body;
  }
  for (const char* type :
       {"multipart/form-data", "application/json", "multipart/mixed; boundary=xYz",
        "multipart/form-data; boundary=xYz; boundary=a", "multipart/form-data; boundary=xYz; boundary*=utf-8''a",
        "multipart/form-data; boundary=\"x Yz\""}) {
    EXPECT_FALSE(read_form(type, kPurpose + end)) << type;
  }
}

}  // namespace
}  // namespace retort::api
