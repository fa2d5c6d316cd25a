cd /work/wt-dev
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export BERTH_LAB=/work/wt-dev/tests/lab BERTH_LAB_OUT=/lab BERTH_LAB_OFFLINE=1
export BERTH_BUILD=/tmp/dev_build
export BERTH_LAB_CACHE=/root/.cache/berth-lab
export BERTH_STORAGE_DAEMON=/tmp/devdl/qsd
/work/wt-dev/tests/lab/vmm_devices_test.sh 6.12 
