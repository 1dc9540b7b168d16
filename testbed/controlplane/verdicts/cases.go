package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/latest"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
)

// testCase is a line of a file of cases.
type testCase struct {
	Nodes           []*v1.Node      `json:"nodes"`
	Pods            []*v1.Pod       `json:"pods"`
	Pod             *v1.Pod         `json:"pod"`
	Objects         objects         `json:"objects"`
	SchedulerConfig json.RawMessage `json:"schedulerConfig"`
}

// objects are what the plugins read besides nodes and pods.
type objects struct {
	Namespaces             []*v1.Namespace                 `json:"namespaces"`
	PersistentVolumes      []*v1.PersistentVolume          `json:"persistentVolumes"`
	PersistentVolumeClaims []*v1.PersistentVolumeClaim     `json:"persistentVolumeClaims"`
	StorageClasses         []*storagev1.StorageClass       `json:"storageClasses"`
	CSINodes               []*storagev1.CSINode            `json:"csiNodes"`
	CSIDrivers             []*storagev1.CSIDriver          `json:"csiDrivers"`
	CSIStorageCapacities   []*storagev1.CSIStorageCapacity `json:"csiStorageCapacities"`
	VolumeAttachments      []*storagev1.VolumeAttachment   `json:"volumeAttachments"`
	Services               []*v1.Service                   `json:"services"`
	ReplicationControllers []*v1.ReplicationController     `json:"replicationControllers"`
	ReplicaSets            []*appsv1.ReplicaSet            `json:"replicaSets"`
	StatefulSets           []*appsv1.StatefulSet           `json:"statefulSets"`
	ResourceClaims         []*resourceapi.ResourceClaim    `json:"resourceClaims"`
	ResourceSlices         []*resourceapi.ResourceSlice    `json:"resourceSlices"`
	DeviceClasses          []*resourceapi.DeviceClass      `json:"deviceClasses"`
}

// answer is what the scheduler says of one node.
type answer struct {
	Node    string   `json:"node"`
	Fits    bool     `json:"fits"`
	Phase   string   `json:"phase,omitempty"`
	Plugin  string   `json:"plugin,omitempty"`
	Code    string   `json:"code,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

// answers asks a framework made for this case alone.
func (c *testCase) answers(parent context.Context) (answers []answer, err error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("the plugins panicked: %v", panicked)
		}
	}()
	lister, err := newLister(c.Nodes, c.Pods)
	if err != nil {
		return nil, err
	}
	profile, err := c.profile()
	if err != nil {
		return nil, err
	}
	client := fake.NewSimpleClientset(c.Objects.watched()...)
	factory := informers.NewSharedInformerFactory(client, 0)
	fw, err := frameworkruntime.NewFramework(
		ctx, plugins.NewInTreeRegistry(), profile,
		frameworkruntime.WithClientSet(client),
		frameworkruntime.WithInformerFactory(factory),
		frameworkruntime.WithSnapshotSharedLister(lister),
		frameworkruntime.WithSharedDRAManager(newDeviceManager(c.Objects)),
		frameworkruntime.WithSharedCSIManager(csiNodes(c.Objects.CSINodes)),
	)
	if err != nil {
		return nil, err
	}
	registered := addHandlers(factory)
	factory.Start(ctx.Done())
	if err := waitFor(ctx, registered); err != nil {
		return nil, err
	}
	return c.ask(ctx, fw, lister)
}

// ask runs PreFilter once and Filter on each node.
func (c *testCase) ask(ctx context.Context, fw framework.Framework, lister *lister) ([]answer, error) {
	state := framework.NewCycleState()
	named, status, givers := fw.RunPreFilterPlugins(ctx, state, c.Pod)
	answers := make([]answer, 0, len(c.Nodes))
	for _, node := range c.Nodes {
		switch {
		case !status.IsSuccess():
			answers = append(answers, refusal(node.Name, "PreFilter", status))
		case !named.AllNodes() && !named.NodeNames.Has(node.Name):
			names := givers.UnsortedList()
			sort.Strings(names)
			answers = append(answers, answer{
				Node:   node.Name,
				Phase:  "PreFilterResult",
				Plugin: strings.Join(names, ", "),
				Code:   fwk.UnschedulableAndUnresolvable.String(),
			})
		default:
			info, err := lister.Get(node.Name)
			if err != nil {
				return nil, err
			}
			verdict := fw.RunFilterPlugins(ctx, state, c.Pod, info)
			if verdict.IsSuccess() {
				answers = append(answers, answer{Node: node.Name, Fits: true})
			} else {
				answers = append(answers, refusal(node.Name, "Filter", verdict))
			}
		}
	}
	return answers, nil
}

func refusal(node, phase string, status *fwk.Status) answer {
	reasons := append([]string(nil), status.Reasons()...)
	if status.Plugin() == "NodeResourcesFit" {
		sortScalars(reasons)
	}
	return answer{
		Node:    node,
		Phase:   phase,
		Plugin:  status.Plugin(),
		Code:    status.Code().String(),
		Reasons: reasons,
	}
}

// sortScalars orders the reasons about scalar resources, which come last and in random order.
func sortScalars(reasons []string) {
	first := map[string]bool{
		"Too many pods": true, "Insufficient cpu": true, "Insufficient memory": true,
		"Insufficient ephemeral-storage": true,
	}
	start := 0
	for start < len(reasons) && first[reasons[start]] {
		start++
	}
	sort.Strings(reasons[start:])
}

// profile is the case's profile, or the default one.
func (c *testCase) profile() (*config.KubeSchedulerProfile, error) {
	if len(c.SchedulerConfig) == 0 {
		defaults, err := latest.Default()
		if err != nil {
			return nil, err
		}
		return &defaults.Profiles[0], nil
	}
	object, _, err := scheme.Codecs.UniversalDecoder().Decode(c.SchedulerConfig, nil, nil)
	if err != nil {
		return nil, err
	}
	configuration, isConfiguration := object.(*config.KubeSchedulerConfiguration)
	if !isConfiguration || len(configuration.Profiles) != 1 {
		return nil, errors.New("schedulerConfig is not a KubeSchedulerConfiguration of one profile")
	}
	return &configuration.Profiles[0], nil
}

// watched are the objects that the plugins get from informers.
func (o *objects) watched() []apiruntime.Object {
	var all []apiruntime.Object
	add := func(object apiruntime.Object) { all = append(all, object) }
	for _, it := range o.Namespaces {
		add(it)
	}
	for _, it := range o.PersistentVolumes {
		add(it)
	}
	for _, it := range o.PersistentVolumeClaims {
		add(it)
	}
	for _, it := range o.StorageClasses {
		add(it)
	}
	for _, it := range o.CSINodes {
		add(it)
	}
	for _, it := range o.CSIDrivers {
		add(it)
	}
	for _, it := range o.CSIStorageCapacities {
		add(it)
	}
	for _, it := range o.VolumeAttachments {
		add(it)
	}
	for _, it := range o.Services {
		add(it)
	}
	for _, it := range o.ReplicationControllers {
		add(it)
	}
	for _, it := range o.ReplicaSets {
		add(it)
	}
	for _, it := range o.StatefulSets {
		add(it)
	}
	return all
}

// waitFor waits until all handlers have seen all objects, and a moment more for those of the
// plugins, which nobody can ask.
func waitFor(ctx context.Context, synced []func() bool) error {
	deadline := time.Now().Add(20 * time.Second)
	for _, isSynced := range synced {
		for !isSynced() {
			if time.Now().After(deadline) {
				return errors.New("the informers do not sync")
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	time.Sleep(2 * time.Millisecond)
	return ctx.Err()
}
