package main

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/dynamic-resource-allocation/deviceclass/extendedresourcecache"
	"k8s.io/dynamic-resource-allocation/structured"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// lister is the snapshot: nodes in the case's order, with their pods.
type lister struct {
	// What is not answered below no plugin of the default profile asks.
	fwk.SharedLister
	infos  []fwk.NodeInfo
	byName map[string]fwk.NodeInfo
	used   sets.Set[string]
}

func newLister(nodes []*v1.Node, pods []*v1.Pod) (*lister, error) {
	snapshot := &lister{byName: map[string]fwk.NodeInfo{}, used: sets.New[string]()}
	for _, node := range nodes {
		info := framework.NewNodeInfo()
		info.SetNode(node)
		if snapshot.byName[node.Name] != nil {
			return nil, fmt.Errorf("two nodes are named %s", node.Name)
		}
		snapshot.byName[node.Name] = info
		snapshot.infos = append(snapshot.infos, info)
	}
	for _, pod := range pods {
		info := snapshot.byName[pod.Spec.NodeName]
		if info == nil {
			return nil, fmt.Errorf("pod %s is on the unknown node %q", pod.Name, pod.Spec.NodeName)
		}
		podInfo, _ := framework.NewPodInfo(pod)
		info.AddPodInfo(podInfo)
		for _, volume := range pod.Spec.Volumes {
			if volume.PersistentVolumeClaim != nil {
				snapshot.used.Insert(pod.Namespace + "/" + volume.PersistentVolumeClaim.ClaimName)
			}
		}
	}
	return snapshot, nil
}

func (l *lister) NodeInfos() fwk.NodeInfoLister           { return l }
func (l *lister) StorageInfos() fwk.StorageInfoLister     { return l }
func (l *lister) PodGroupStates() fwk.PodGroupStateLister { return nil }
func (l *lister) List() ([]fwk.NodeInfo, error)           { return l.infos, nil }
func (l *lister) IsPVCUsedByPods(key string) bool         { return l.used.Has(key) }

func (l *lister) HavePodsWithAffinityList() ([]fwk.NodeInfo, error) {
	return l.with(func(info fwk.NodeInfo) int { return len(info.GetPodsWithAffinity()) }), nil
}

func (l *lister) HavePodsWithRequiredAntiAffinityList() ([]fwk.NodeInfo, error) {
	return l.with(func(info fwk.NodeInfo) int { return len(info.GetPodsWithRequiredAntiAffinity()) }), nil
}

// HavePodsWithRequiredNonHostScopedAntiAffinityList is asked since 1.37, by what is off there.
func (l *lister) HavePodsWithRequiredNonHostScopedAntiAffinityList() ([]fwk.NodeInfo, error) {
	return l.HavePodsWithRequiredAntiAffinityList()
}

func (l *lister) with(count func(fwk.NodeInfo) int) []fwk.NodeInfo {
	var some []fwk.NodeInfo
	for _, info := range l.infos {
		if count(info) > 0 {
			some = append(some, info)
		}
	}
	return some
}

func (l *lister) Get(name string) (fwk.NodeInfo, error) {
	if info := l.byName[name]; info != nil {
		return info, nil
	}
	return nil, fmt.Errorf("nodeinfo not found for node name %q", name)
}

// csiNodes answers for CSINode objects from the case.
type csiNodes []*storagev1.CSINode

func (c csiNodes) CSINodes() fwk.CSINodeLister         { return c }
func (c csiNodes) List() ([]*storagev1.CSINode, error) { return c, nil }
func (c csiNodes) Get(name string) (*storagev1.CSINode, error) {
	for _, node := range c {
		if node.Name == name {
			return node, nil
		}
	}
	return nil, apierrors.NewNotFound(storagev1.Resource("csinodes"), name)
}

// deviceManager answers for devices and claims, in the cluster-autoscaler's words. What a check
// does not ask is left to the nil interfaces.
type deviceManager struct {
	fwk.SharedDRAManager
	objects  objects
	resolver *extendedresourcecache.ExtendedResourceCache
}

func newDeviceManager(objects objects) *deviceManager {
	resolver := extendedresourcecache.NewExtendedResourceCache(klog.Logger{})
	for _, class := range objects.DeviceClasses {
		resolver.OnAdd(class, true)
	}
	return &deviceManager{objects: objects, resolver: resolver}
}

func (m *deviceManager) ResourceClaims() fwk.ResourceClaimTracker {
	return claims{claims: m.objects.ResourceClaims}
}
func (m *deviceManager) ResourceSlices() fwk.ResourceSliceLister {
	return slices(m.objects.ResourceSlices)
}
func (m *deviceManager) DeviceClasses() fwk.DeviceClassLister {
	return classes(m.objects.DeviceClasses)
}
func (m *deviceManager) DeviceClassResolver() fwk.DeviceClassResolver {
	return m.resolver
}

type slices []*resourceapi.ResourceSlice

func (s slices) ListWithDeviceTaintRules() ([]*resourceapi.ResourceSlice, error) { return s, nil }

type classes []*resourceapi.DeviceClass

func (c classes) List() ([]*resourceapi.DeviceClass, error) { return c, nil }
func (c classes) Get(name string) (*resourceapi.DeviceClass, error) {
	for _, class := range c {
		if class.Name == name {
			return class, nil
		}
	}
	return nil, apierrors.NewNotFound(resourceapi.Resource("deviceclasses"), name)
}

type claims struct {
	fwk.ResourceClaimTracker
	claims []*resourceapi.ResourceClaim
}

func (c claims) List() ([]*resourceapi.ResourceClaim, error) { return c.claims, nil }

func (c claims) Get(namespace, name string) (*resourceapi.ResourceClaim, error) {
	for _, claim := range c.claims {
		if claim.Namespace == namespace && claim.Name == name {
			return claim, nil
		}
	}
	return nil, fmt.Errorf("claim %s/%s not found", namespace, name)
}

func (c claims) GetPendingAllocation(types.UID) *resourceapi.AllocationResult { return nil }

func (c claims) ListAllAllocatedDevices() (sets.Set[structured.DeviceID], error) {
	state, err := c.GatherAllocatedState()
	if err != nil {
		return nil, err
	}
	return state.AllocatedDevices, nil
}

func (c claims) GatherAllocatedState() (*structured.AllocatedState, error) {
	state := &structured.AllocatedState{
		AllocatedDevices:         sets.New[structured.DeviceID](),
		AllocatedSharedDeviceIDs: sets.New[structured.SharedDeviceID](),
		AggregatedCapacity:       structured.NewConsumedCapacityCollection(),
	}
	for _, claim := range c.claims {
		if claim.Status.Allocation == nil {
			continue
		}
		for _, result := range claim.Status.Allocation.Devices.Results {
			if result.AdminAccess != nil && *result.AdminAccess {
				continue
			}
			id := structured.MakeDeviceID(result.Driver, result.Pool, result.Device)
			if result.ShareID == nil {
				state.AllocatedDevices.Insert(id)
				continue
			}
			state.AllocatedSharedDeviceIDs.Insert(structured.MakeSharedDeviceID(id, result.ShareID))
			if result.ConsumedCapacity != nil {
				state.AggregatedCapacity.Insert(structured.NewDeviceConsumedCapacity(id, result.ConsumedCapacity))
			}
		}
	}
	return state, nil
}

// addHandlers watches every kind that the plugins may watch, so that it can be told when all
// objects have arrived.
func addHandlers(factory informers.SharedInformerFactory) []func() bool {
	core, storage, apps := factory.Core().V1(), factory.Storage().V1(), factory.Apps().V1()
	var synced []func() bool
	for _, informer := range []cache.SharedIndexInformer{
		core.Namespaces().Informer(), core.PersistentVolumes().Informer(),
		core.PersistentVolumeClaims().Informer(), core.Services().Informer(),
		core.ReplicationControllers().Informer(), core.Nodes().Informer(), core.Pods().Informer(),
		storage.StorageClasses().Informer(), storage.CSINodes().Informer(),
		storage.CSIDrivers().Informer(), storage.CSIStorageCapacities().Informer(),
		storage.VolumeAttachments().Informer(), apps.ReplicaSets().Informer(),
		apps.StatefulSets().Informer(),
	} {
		handle, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{})
		if err == nil {
			synced = append(synced, handle.HasSynced)
		}
	}
	return synced
}
