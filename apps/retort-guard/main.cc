#include <string>
#include <vector>

#include "frame/begin.h"

int main(int argc, char** argv) { return retort::app::begin(std::vector<std::string>(argv + 1, argv + argc), {}); }
