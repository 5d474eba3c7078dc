// What guard.yaml may say beside the policy (policy/options.h): where to listen, who is behind, who calls, what is
// kept.
//
// Plain values; the sets are immutable. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "recipe/map_shape.h"
#include "recipe/option_set.h"

namespace retort::guard {

struct UpstreamOptions {
  std::string name;
  std::string dialect = "openai";   // openai | anthropic
  std::string url;                  // up to and with what stands before /v1: "https://api.example.com"
  std::string key_env;              // the provider's key is in this variable; empty: none is sent
  std::vector<std::string> models;  // that it serves; empty: whatever no other upstream of the dialect names
  std::string authorities;          // PEM file of authorities to trust; empty: the system's
  // anything | idempotent | nothing: what is sent a second time when a kept connection was closed without an answer
  std::string resend = "anything";
  bool operator==(const UpstreamOptions&) const = default;
};

struct TlsOptions {
  std::string certificate;  // PEM files
  std::string key;
  bool operator==(const TlsOptions&) const = default;
};

struct AdminOptions {
  std::string listen;     // empty: there is no admin API
  std::string token_env;  // its credential is in this variable
  bool operator==(const AdminOptions&) const = default;
};

// Other proxies that ask here and send the request on themselves (guard/planes.h).
struct AuthzOptions {
  std::string listen;     // for nginx's auth_request; empty: not asked this way
  std::string ext_authz;  // for Envoy's ext_authz, over gRPC: an address and a port, or unix:/path
  bool bodies = true;     // ext_authz: Envoy sends the bodies; a request that needs one and has none is refused
  std::string undecided = "pass";  // pass | refuse: where a tier's policy says what can't be seen this way
  bool operator==(const AuthzOptions&) const = default;
};

// Several guards with one set of limits (sharing/shared_limits.h).
struct StateOptions {
  std::string redis;         // redis://HOST:PORT/DATABASE or unix:/path; empty: this guard's limits are its own
  std::string password_env;  // its password is in this variable; empty: it has none
  bool operator==(const StateOptions&) const = default;
};

// A decimal as it was written, in quotes or not: no binary fraction comes between.
struct Decimal {
  std::string text;
  bool operator==(const Decimal&) const = default;
};

struct CallersOptions {
  std::string path = "callers";  // a folder
  Decimal listed_from{"50"};     // percent that listed owners must hold together
  bool or_more = true;           // ">= 50 %"; false: "> 50 %"
  bool operator==(const CallersOptions&) const = default;
};

struct NetworkListEntry {
  std::string kind;  // datacentre, vpn, tor, cloud, …
  std::string path;
  bool operator==(const NetworkListEntry&) const = default;
};

struct NetworkRuleOptions {
  std::string name;
  std::vector<std::string> countries;
  std::vector<std::string> except_countries;
  std::vector<std::int64_t> asns;
  std::vector<std::string> kinds;
  std::string outcome = "flag";  // pass | flag | verify | refuse
  bool operator==(const NetworkRuleOptions&) const = default;
};

struct NetworkOptions {
  std::vector<std::string> mmdb;
  std::vector<NetworkListEntry> lists;
  std::vector<std::string> trusted_hops;       // networks of proxies of ours
  std::string hop_header = "x_forwarded_for";  // x_forwarded_for | forwarded: the one they write
  std::vector<NetworkRuleOptions> rules;
  std::string unknown_country;  // pass | flag | verify | refuse; needed where a rule speaks of countries
  bool refuse_by_country_alone = false;
  bool operator==(const NetworkOptions&) const = default;
};

struct EvidenceOptions {
  std::string path;                // a folder; empty: none is kept
  std::string prompts = "sketch";  // whole | sketch | none
  std::int64_t retention_days = 30;
  bool required = false;  // no record, no request
  std::int64_t quota_mb = 16 << 10;
  bool operator==(const EvidenceOptions&) const = default;
};

struct SealingOptions {
  std::string keys;  // file of the key ring, made when absent; empty: blobs pass unsealed
  std::int64_t expire_hours = 24;
  std::string changed_prefix = "drop";  // drop | refuse: what happens to a blob whose conversation was edited
  std::string other_model = "drop";     // drop | refuse: or that is for another model
  bool operator==(const SealingOptions&) const = default;
};

struct GuardOptions {
  std::string listen = "127.0.0.1:8400";
  std::int64_t workers = 0;  // threads; 0: one a core, at most 4
  std::int64_t max_body_mb = 64;
  TlsOptions tls;
  AdminOptions admin;
  AuthzOptions authz;
  StateOptions state;
  std::vector<UpstreamOptions> upstreams;
  CallersOptions callers;
  NetworkOptions network;
  EvidenceOptions evidence;
  SealingOptions sealing;
};

const recipe::MapShape<UpstreamOptions>& upstream_shape();
const recipe::MapShape<NetworkListEntry>& network_list_shape();
const recipe::MapShape<NetworkRuleOptions>& network_rule_shape();
const recipe::MapShape<TlsOptions>& tls_shape();
const recipe::MapShape<AdminOptions>& admin_shape();
const recipe::MapShape<AuthzOptions>& authz_shape();
const recipe::MapShape<StateOptions>& state_shape();
const recipe::MapShape<CallersOptions>& callers_shape();
const recipe::MapShape<NetworkOptions>& network_shape();
const recipe::MapShape<EvidenceOptions>& evidence_shape();
const recipe::MapShape<SealingOptions>& sealing_shape();
const recipe::OptionSet<GuardOptions>& guard_option_set();

}  // namespace retort::guard

namespace retort::recipe {
template <>
struct Codec<guard::Decimal> {
  static std::string type_name(const OptionText& text);
  static Parsed<guard::Decimal> parse(const Node& node, const OptionText& text);
  static Node write(const guard::Decimal& value);
};
template <>
struct Codec<std::vector<guard::UpstreamOptions>> : MapListCodec<guard::UpstreamOptions, &guard::upstream_shape> {};
template <>
struct Codec<std::vector<guard::NetworkListEntry>> : MapListCodec<guard::NetworkListEntry, &guard::network_list_shape> {
};
template <>
struct Codec<std::vector<guard::NetworkRuleOptions>>
    : MapListCodec<guard::NetworkRuleOptions, &guard::network_rule_shape> {};
template <>
struct Codec<guard::TlsOptions> : MapCodec<guard::TlsOptions, &guard::tls_shape> {};
template <>
struct Codec<guard::AdminOptions> : MapCodec<guard::AdminOptions, &guard::admin_shape> {};
template <>
struct Codec<guard::AuthzOptions> : MapCodec<guard::AuthzOptions, &guard::authz_shape> {};
template <>
struct Codec<guard::StateOptions> : MapCodec<guard::StateOptions, &guard::state_shape> {};
template <>
struct Codec<guard::CallersOptions> : MapCodec<guard::CallersOptions, &guard::callers_shape> {};
template <>
struct Codec<guard::NetworkOptions> : MapCodec<guard::NetworkOptions, &guard::network_shape> {};
template <>
struct Codec<guard::EvidenceOptions> : MapCodec<guard::EvidenceOptions, &guard::evidence_shape> {};
template <>
struct Codec<guard::SealingOptions> : MapCodec<guard::SealingOptions, &guard::sealing_shape> {};
}  // namespace retort::recipe
