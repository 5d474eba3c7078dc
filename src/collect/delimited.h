// Records of a CSV or TSV file (RFC 4180), read as a stream. Internal to the module.
//
// A field in double quotes may hold the separator, line breaks and doubled quotes; a quote inside a field that doesn't
// begin with one is a character like any other. Lines end with LF or CR LF. Blank lines between records are passed
// over. One thread at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "collect/line_reader.h"

namespace retort::collect {

class RecordReader {
 public:
  RecordReader(LineReader& lines, char separator) : lines_(lines), separator_(separator) {}

  struct Record {
    std::size_t line = 0;  // where it begins
    std::vector<std::string> fields;
    std::string broken;  // why it can't be read; the next begins on the next line. Empty: it can
  };
  // Nothing at the end. Error: kWorld as of LineReader; kCaller when a quoted field never ends, so that it can't be
  // said where the next record begins (`line N: …`, without the file).
  Result<std::optional<Record>> next();

 private:
  LineReader& lines_;
  char separator_;
};

}  // namespace retort::collect
