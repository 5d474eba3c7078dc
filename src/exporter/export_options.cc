#include "exporter/export_options.h"

namespace retort::exporter {

const recipe::OptionSet<ExportOptions>& export_option_set() {
  static const auto set =
      recipe::OptionSet<ExportOptions>("export", "How the student is shipped.")
          .add("quantize", &ExportOptions::quantize,
               {.help =
                    "Type of the quantised GGUF file that is shipped beside the F16 one. The types with a K need rows "
                    "of 256; where a model's rows don't divide by it (SmolLM2-135M has 576), those matrices become "
                    "Q8_0. Quality and speed of this file are measured, not assumed.",
                .choices = {"Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_NL", "Q3_K", "Q2_K"}})
          .add("huggingface", &ExportOptions::huggingface,
               {.help = "Whether the bundle also gets a Hugging Face folder, huggingface/: config.json and the trained "
                        "FP32 weights as model.safetensors, to go on training from. The tokenizer stays the "
                        "teacher's: take its files from the teacher's repository."});
  return set;
}

}  // namespace retort::exporter
