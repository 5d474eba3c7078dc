// Which rank this process is, as those who start many processes say it: torchrun, Slurm, mpirun. The one place that
// knows their variables.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "train/rank_place.h"

namespace retort::app {

using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// Alone when nobody says anything. Sought in this order:
//   torchrun    RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT, TORCHELASTIC_USE_AGENT_STORE
//   Slurm       SLURM_PROCID, SLURM_NTASKS (of a step: srun), SLURM_LOCALID, SLURM_NTASKS_PER_NODE,
//               SLURM_STEP_NODELIST or SLURM_JOB_NODELIST or SLURM_LAUNCH_NODE_IPADDR, SLURM_JOB_ID
//   Open MPI    OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
//   MPICH       PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS
// MASTER_ADDR and MASTER_PORT count for all of them. Error (kCaller): a variable that isn't a number; half of a pair;
// no address for ranks on several machines.
Result<train::RankPlace> rank_place(const Environment& environment);

}  // namespace retort::app
