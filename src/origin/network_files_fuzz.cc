// Any bytes as an .mmdb file and as a list of networks: refused with a sentence, or asked without harm.
#include "fuzz/fuzz.h"
#include "origin/mmdb_file.h"
#include "origin/network_list.h"
#include "origin/test_mmdb.h"

namespace origin = retort::origin;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto database = origin::MmdbFile::from_bytes(text, "x.mmdb");
  const auto list = origin::NetworkList::parse(text, {"vpn", "x.txt"});
  RETORT_CHECK(database || !database.error().message.empty());
  RETORT_CHECK(list ? list->entries() > 0 : !list.error().message.empty());
  for (const char* address : {"8.8.8.8", "0.0.0.0", "255.255.255.255", "2001:200::1", "::"}) {
    if (database) database->look_up(*origin::IpAddress::parse(address));
    if (list) list->has(*origin::IpAddress::parse(address));
  }
  return 0;
}

std::vector<std::string> fuzz_seeds() {
  return {origin::mmdb_bytes("Test-Country", {{"8.8.0.0/16", origin::mmdb_country("US")},
                                              {"2001:200::/32", origin::mmdb_country("JP")}}),
          origin::mmdb_bytes("Test-ASN", {{"8.8.8.0/24", origin::mmdb_asn(15169, "Example")}}),
          origin::mmdb_bytes("Test-Anonymous-IP",
                             {{"8.0.0.0/8", origin::mmdb_map({{"is_anonymous_vpn", origin::mmdb_true()}})}}),
          "# exit nodes\n8.8.8.0/24\n2001:200::/32\n1.2.3.4\n", "ASN,Entity\n64496,\"Nobody, XX\"\n\"15169\",x\n"};
}
